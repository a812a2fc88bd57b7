"""Serving certificates of the webhook: issues them, and says what is wrong with the one that a Secret holds."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"  # entries of the Secret, as cert-manager writes them
LIFE = timedelta(days=90)
SKEW = timedelta(hours=1)  # by which the clocks of the operator and of API servers may differ
COMMON_NAME = "tunecast-webhook"
# The part of X.509 that other clients than Go's ask for: Python's, since 3.13, wants key identifiers and key usage.
_NO_USAGE = dict.fromkeys(
    (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ),
    False,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate, its private key, and the certificate of the authority that signed it, each in PEM."""

    certificate: bytes
    key: bytes
    authority: bytes

    @property
    def data(self) -> dict[str, str]:
        """The data of a Secret, in base64."""
        entries = {CERTIFICATE: self.certificate, KEY: self.key, AUTHORITY: self.authority}
        return {name: base64.b64encode(value).decode() for name, value in entries.items()}


def service_names(service: str, namespace: str) -> tuple[str, ...]:
    """DNS names by which API servers and pods reach a Service."""
    return (f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local")


def issue(names: Sequence[str], now: datetime) -> IssuedCertificate:
    """Issues a certificate for the DNS names ``names`` that is valid for 90 days from ``now``.

    It is signed by an authority of its own, whose private key is forgotten, so that nobody can sign another
    certificate that API servers trust.
    """
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _name(f"{COMMON_NAME}-ca"), _name(COMMON_NAME)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    authority = (
        _builder(issuer, issuer, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign"), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(subject, issuer, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return IssuedCertificate(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        authority.public_bytes(Encoding.PEM),
    )


def problem(data: Mapping[str, str], names: Sequence[str], now: datetime) -> str:
    """Says why the Secret with ``data`` needs a new certificate for ``names``; empty where it needs none."""
    try:
        certificate, authority = (_certificate(data, entry) for entry in (CERTIFICATE, AUTHORITY))
        key = load_pem_private_key(_pem(data, KEY), password=None)
    except KeyError as missing:
        return f"{missing.args[0]} is missing"
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return f"its entries can't be parsed: {error}"
    if key.public_key() != certificate.public_key():
        return f"{KEY} is not the key of {CERTIFICATE}"
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return f"{CERTIFICATE} is not signed by {AUTHORITY}"
    if (found := _names(certificate)) != {*names}:
        return f"{CERTIFICATE} is for {', '.join(sorted(found)) or 'no name'}, not for {', '.join(sorted(names))}"
    return _expires(min(certificate, authority, key=lambda one: one.not_valid_after_utc), now)


def _expires(certificate: x509.Certificate, now: datetime) -> str:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return f"it is valid only from {begin:%Y-%m-%d %H:%M} UTC"
    if now >= end:
        return f"it expired at {end:%Y-%m-%d %H:%M} UTC"
    return f"it expires at {end:%Y-%m-%d %H:%M} UTC" if end - now < (end - begin) / 3 else ""


def expiry(data: Mapping[str, str]) -> datetime | None:
    """When the certificate in the Secret expires; None where it can't be parsed."""
    try:
        return _certificate(data, CERTIFICATE).not_valid_after_utc
    except (KeyError, ValueError):
        return None


def issued(data: Mapping[str, str]) -> datetime:
    """When a certificate without a problem was issued."""
    return _certificate(data, CERTIFICATE).not_valid_before_utc + SKEW


def _certificate(data: Mapping[str, str], entry: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(_pem(data, entry))


def _pem(data: Mapping[str, str], entry: str) -> bytes:
    try:
        return base64.b64decode(data[entry], validate=True)
    except binascii.Error as error:
        raise ValueError(f"{entry}: {error}") from error


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return set()
    return {*found.value.get_values_for_type(x509.DNSName)}


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{**_NO_USAGE, allowed: True})


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
