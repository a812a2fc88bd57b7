"""Valid signatures, and every kind of invalid one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tunecast_core.errors import SignatureError
from tunecast_core.trust.signing import PAYLOAD_TYPE, Signer, generate, verify

SIGNER = Signer(bytes(range(32)))
OTHER = Signer(bytes(32))
KEYS = {SIGNER.signer: SIGNER.public_key}


def test_a_golden_envelope_verifies() -> None:
    """The envelope follows DSSE's specification by hand, so other tools can verify ours."""
    payload = b'{"a":1}'
    signed = b"DSSEv1 41 application/vnd.tunecast.manifest.v1+json 7 " + payload
    signature = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).sign(signed)
    envelope = {
        "payload": "eyJhIjoxfQ==",
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": "56475aa75463474c", "sig": base64.b64encode(signature).decode()}],
    }
    assert json.loads(SIGNER.sign(payload)) == envelope
    assert verify(json.dumps(envelope).encode(), KEYS) == (payload, "56475aa75463474c")


def test_signers_are_named_by_their_keys() -> None:
    assert SIGNER.public_key == "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    assert Signer(generate()).signer != Signer(generate()).signer


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_private_key_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32"):
        Signer(bytes(length))


def _replace(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda envelope: {**envelope, **fields}


def _signature(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda envelope: {**envelope, "signatures": [{**envelope["signatures"][0], **fields}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_replace(payload=base64.b64encode(b"other").decode()), "is wrong"),
        (_replace(payload="!"), "can't be read"),
        (_replace(payloadType="text/plain"), "type 'text/plain'"),
        (_replace(signatures=[]), "signed by no key"),
        (_replace(signatures={}), "can't be read"),
        (_signature(keyid=OTHER.signer), f"signed by {OTHER.signer}"),
        (_signature(sig=base64.b64encode(bytes(64)).decode()), "is wrong"),
        (_signature(sig=""), "is wrong"),
        (_signature(sig="?"), "can't be read"),
        (lambda _: [], "can't be read"),
    ],
)
def test_changed_envelopes_are_refused(change: Callable[[Any], Any], message: str) -> None:
    envelope = change(json.loads(SIGNER.sign(b"payload")))
    with pytest.raises(SignatureError, match=message):
        verify(json.dumps(envelope).encode(), KEYS)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "trusted keys are none"),
        ({OTHER.signer: OTHER.public_key}, "signed by 5"),
        ({SIGNER.signer: OTHER.public_key}, "has the wrong name"),
        ({SIGNER.signer: "?"}, "no Ed25519 public key"),
        ({SIGNER.signer: ""}, "has the wrong name"),
    ],
)
def test_only_trusted_keys_count(keys: dict[str, str], message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        verify(SIGNER.sign(b"payload"), keys)


@pytest.mark.parametrize("envelope", [b"", b"\xff", b"{}", b"null", b" " * (9 * 2**20)])
def test_garbage_is_refused(envelope: bytes) -> None:
    with pytest.raises(SignatureError, match="can't be read"):
        verify(envelope, KEYS)


def test_a_token_is_of_one_attempt_and_one_key() -> None:
    tokens = {Signer(key).token(job) for key in (bytes(32), b"k" * 32) for job in ("uid-1", "uid-2")}
    assert len(tokens) == 4
    assert Signer(bytes(32)).token("uid-1") in tokens
