"""What a Secret with the webhook's certificate may hold, and what is wrong with it otherwise."""

from __future__ import annotations

import base64
import contextlib
import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tunecast_operator.resources.certificate import (
    LIFE,
    SKEW,
    IssuedCertificate,
    expiry,
    issue,
    issued,
    problem,
    service_names,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
NAMES = service_names("tunecast-webhook", "tunecast-system")
GOOD, OTHER = issue(NAMES, NOW), issue(NAMES, NOW)
CURRENT = issue(NAMES, datetime.now(timezone.utc))  # OpenSSL has no clock but the machine's
PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
Data = dict[str, str]


def changed(**entries: bytes) -> Data:
    """The data of a good Secret with other entries: ``ca_crt`` stands for ``ca.crt``."""
    return GOOD.data | {name.replace("_", "."): base64.b64encode(value).decode() for name, value in entries.items()}


def without(entry: str) -> Data:
    return {name: value for name, value in GOOD.data.items() if name != entry}


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (GOOD.data, ""),
        (GOOD.data | {"more": "YQ=="}, ""),
        ({}, "tls.crt is missing"),
        (without("tls.crt"), "tls.crt is missing"),
        (without("tls.key"), "tls.key is missing"),
        (without("ca.crt"), "ca.crt is missing"),
        (GOOD.data | {"tls.crt": "not base64"}, "can't be parsed: tls.crt"),
        (changed(tls_crt=b""), "can't be parsed"),
        (changed(tls_crt=b"\xff\x00"), "can't be parsed"),
        (changed(tls_crt=PEM), "can't be parsed"),
        (changed(tls_crt=GOOD.certificate[:-80]), "can't be parsed"),
        (changed(tls_key=b"garbage"), "can't be parsed"),
        (changed(tls_key=GOOD.certificate), "can't be parsed"),
        (changed(ca_crt=GOOD.key), "can't be parsed"),
        (changed(tls_key=OTHER.key), "tls.key is not the key of tls.crt"),
        (changed(ca_crt=OTHER.authority), "tls.crt is not signed by ca.crt"),
        (changed(ca_crt=GOOD.certificate), "tls.crt is not signed by ca.crt"),
        (changed(tls_crt=OTHER.certificate, tls_key=OTHER.key), "tls.crt is not signed by ca.crt"),
        (issue(NAMES[:1], NOW).data, "tls.crt is for tunecast-webhook.tunecast-system.svc, not for "),
        (issue((*NAMES, "localhost"), NOW).data, "tls.crt is for localhost, "),
        (issue(service_names("other", "tunecast-system"), NOW).data, "tls.crt is for other.tunecast-system.svc, "),
        (changed(tls_crt=GOOD.authority, tls_key=GOOD.key), "tls.key is not the key of tls.crt"),
    ],
)
def test_a_secret_is_described_by_what_is_wrong_with_it(data: Data, wrong: str) -> None:
    found = problem(data, NAMES, NOW)
    assert wrong in found
    assert bool(wrong) == bool(found)


@pytest.mark.parametrize(
    ("age", "wrong"),
    [
        (timedelta(), ""),
        (-SKEW, ""),  # of an operator whose clock is slow
        (-SKEW - timedelta(seconds=1), "valid only from 2026-11-28 11:00 UTC"),
        (timedelta(days=59), ""),
        (timedelta(days=61), "expires at 2027-02-26 12:00 UTC"),
        (LIFE - timedelta(seconds=1), "expires at"),
        (LIFE, "expired at 2027-02-26 12:00 UTC"),
        (timedelta(days=4000), "expired at"),
    ],
)
def test_a_certificate_is_renewed_when_a_third_of_its_life_is_left(age: timedelta, wrong: str) -> None:
    found = problem(GOOD.data, NAMES, NOW + age)
    assert wrong in found
    assert bool(wrong) == bool(found)


def test_a_certificate_of_an_authority_that_expires_first_is_renewed_with_it() -> None:
    """Such as one that somebody else put into the Secret."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.load_pem_x509_certificate(GOOD.authority)
    assert authority.not_valid_after_utc == NOW + LIFE
    soon = _reissued(authority, key, NOW + timedelta(minutes=20))
    certificate = _reissued(x509.load_pem_x509_certificate(GOOD.certificate), key, NOW + LIFE)
    data = changed(ca_crt=soon, tls_crt=certificate)
    assert "expires at 2026-11-28 12:20 UTC" in problem(data, NAMES, NOW)


def test_the_private_key_of_the_authority_is_not_kept() -> None:
    """So whoever reads the Secret can't have API servers accept a certificate for another name."""
    assert [GOOD.data.keys() == {"tls.crt", "tls.key", "ca.crt"}, GOOD.authority.count(b"BEGIN")] == [True, 1]
    kept = load_pem_private_key(GOOD.key, None).public_key()
    assert kept == x509.load_pem_x509_certificate(GOOD.certificate).public_key()
    assert kept != x509.load_pem_x509_certificate(GOOD.authority).public_key()


def test_what_a_secret_says_of_its_certificate() -> None:
    assert expiry(GOOD.data) == NOW + LIFE
    assert issued(GOOD.data) == NOW
    assert [expiry(data) for data in ({}, changed(tls_crt=b"garbage"), {"tls.crt": "not base64"})] == [None] * 3


def test_tls_clients_that_trust_the_authority_connect_by_each_name(tmp_path: Path) -> None:
    for name in NAMES:
        handshake(tmp_path, CURRENT, CURRENT.authority, name)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(tmp_path, CURRENT, CURRENT.authority, "other.tunecast-system.svc")


def test_tls_clients_that_trust_both_authorities_connect_before_and_after_a_renewal(tmp_path: Path) -> None:
    renewed = issue(NAMES, datetime.now(timezone.utc))
    both = renewed.authority + CURRENT.authority
    for serving in (CURRENT, renewed):
        handshake(tmp_path, serving, both, NAMES[0])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, CURRENT, renewed.authority, NAMES[0])


def handshake(folder: Path, serving: IssuedCertificate, trusted: bytes, name: str) -> None:
    """TLS as a strict client does it. Raises ssl.SSLError where the client refuses the certificate."""
    (folder / "chain.pem").write_bytes(serving.key + serving.certificate)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(folder / "chain.pem")
    client.load_verify_locations(cadata=trusted.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    talking = client.wrap_bio(back, there, server_hostname=name), server.wrap_bio(there, back, server_side=True)
    for side in talking * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert talking[0].version() == "TLSv1.3"


def _reissued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, end: datetime) -> bytes:
    """The same certificate, signed by ``key``, and valid until ``end``."""
    public = key.public_key() if certificate.issuer == certificate.subject else certificate.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(cast("ec.EllipticCurvePublicKey", public))
        .serial_number(certificate.serial_number)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(end)
    )
    for extension in certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
