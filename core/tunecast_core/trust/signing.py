"""Ed25519 signatures in DSSE envelopes (https://github.com/secure-systems-lab/dsse)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tunecast_core.errors import MalformedError, SignatureError
from tunecast_core.records.codec import decode

PAYLOAD_TYPE = "application/vnd.tunecast.manifest.v1+json"
ATTEMPT_TYPE = "application/vnd.tunecast.attempt.v1"
LIMIT = 8 * 2**20  # maximum size of an envelope in bytes


@dataclass(frozen=True, slots=True)
class _Signature:
    keyid: str
    sig: str  # base64


@dataclass(frozen=True, slots=True)
class _Envelope:
    payload: str  # base64
    payload_type: str
    signatures: tuple[_Signature, ...]


def generate() -> bytes:
    """Returns a new private key of 32 bytes."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


class Signer:
    """Signs with one private key.

    Raises:
        ValueError: ``private`` isn't 32 bytes long.
    """

    def __init__(self, private: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        public = self._key.public_key().public_bytes_raw()
        self.signer = signer_of(public)
        self.public_key = base64.b64encode(public).decode()

    def sign(self, payload: bytes) -> bytes:
        """Returns the envelope of a signed payload, as JSON."""
        signature = self._key.sign(_signed_bytes(PAYLOAD_TYPE, payload))
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": self.signer, "sig": base64.b64encode(signature).decode()}],
        }
        return json.dumps(envelope, sort_keys=True).encode()

    def token(self, attempt_id: str) -> str:
        """Returns the token with which ranks of an attempt seal records. It is derived from the private key."""
        return hashlib.sha256(self._key.sign(_signed_bytes(ATTEMPT_TYPE, attempt_id.encode()))).hexdigest()


def public_bytes(text: str) -> bytes:
    """Returns the 32 bytes of a public key in base64.

    Raises:
        ValueError: ``text`` isn't a public key in base64.
    """
    public = base64.b64decode(text, validate=True)
    Ed25519PublicKey.from_public_bytes(public)
    return public


def signer_of(public: bytes) -> str:
    """Returns the name of a public key: 16 hexadecimal digits."""
    return hashlib.sha256(public).hexdigest()[:16]


def verify(envelope: bytes, keys: Mapping[str, str]) -> tuple[bytes, str]:
    """Verifies an envelope, and returns its payload and the signer.

    Args:
        envelope: the envelope as JSON.
        keys: trusted public keys in base64, by signer.

    Raises:
        SignatureError: no trusted key signed it, or the envelope or a trusted key is broken.
    """
    try:
        record = decode(_Envelope, envelope, "the signed manifest", LIMIT)
        payload = base64.b64decode(record.payload, validate=True)
        signatures = {s.keyid: base64.b64decode(s.sig, validate=True) for s in record.signatures}
    except (MalformedError, binascii.Error, ValueError) as error:
        raise SignatureError(f"the signed manifest can't be read: {error}") from error
    if record.payload_type != PAYLOAD_TYPE:
        raise SignatureError(f"the signed manifest is of type {record.payload_type!r}, not {PAYLOAD_TYPE}")
    for signer in sorted(signatures.keys() & keys.keys()):
        _check(signer, keys[signer], signatures[signer], _signed_bytes(PAYLOAD_TYPE, payload))
        return payload, signer
    signers = ", ".join(sorted(signatures)) or "no key"
    raise SignatureError(f"the manifest is signed by {signers}; trusted keys are {', '.join(sorted(keys)) or 'none'}")


def _check(signer: str, public_key: str, signature: bytes, signed: bytes) -> None:
    try:
        public = base64.b64decode(public_key, validate=True)
        if signer_of(public) != signer:
            raise SignatureError(f"the trusted key of {signer} has the wrong name: it should be {signer_of(public)}")
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except InvalidSignature as error:
        raise SignatureError(
            f"the manifest's signature by {signer} is wrong: it was changed after it was signed"
        ) from error
    except (binascii.Error, ValueError) as error:
        raise SignatureError(f"the trusted key of {signer} is no Ed25519 public key: {error}") from error


def _signed_bytes(kind: str, payload: bytes) -> bytes:
    """Returns DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
