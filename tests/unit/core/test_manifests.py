"""Which manifest of a key counts, for the operator and for init containers."""

from __future__ import annotations

import hashlib

import pytest

from support.objects import manifest
from tunecast_core.errors import MalformedError, SignatureError, StoreUnavailableError, WrongKeyError
from tunecast_core.records.codec import canonical
from tunecast_core.trust.manifests import Place, counting_manifest, verify_manifest
from tunecast_core.trust.signing import Signer

PLACE = Place("models", "k", "nvidia-l4-x86-64")
A, B, STRANGER = sorted((Signer(bytes([n] * 32)) for n in range(3)), key=lambda signer: signer.signer)
KEYS = {signer.signer: signer.public_key for signer in (A, B)}
PAYLOAD = canonical(manifest(PLACE.key, namespace=PLACE.namespace, hardware=PLACE.hardware))
ELSEWHERE = [
    canonical(manifest(PLACE.key, namespace="others", hardware=PLACE.hardware)),
    canonical(manifest("another", namespace=PLACE.namespace, hardware=PLACE.hardware)),
    canonical(manifest(PLACE.key, namespace=PLACE.namespace, hardware="nvidia-h100-x86-64")),
]


def test_a_verified_manifest_has_the_digest_of_what_was_signed() -> None:
    found = verify_manifest(A.sign(PAYLOAD), KEYS, PLACE, A.signer)
    assert (found.digest, found.signer) == (hashlib.sha256(PAYLOAD).hexdigest(), A.signer)
    assert Place(found.manifest.namespace, found.manifest.key, found.manifest.hardware) == PLACE


@pytest.mark.parametrize(
    ("envelope", "error"),
    [
        (b"{}", SignatureError),
        (STRANGER.sign(PAYLOAD), SignatureError),
        (A.sign(b"{}"), MalformedError),
        *((A.sign(payload), WrongKeyError) for payload in ELSEWHERE),
    ],
)
def test_other_manifests_are_refused(envelope: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        verify_manifest(envelope, KEYS, PLACE, A.signer)


@pytest.mark.parametrize(
    ("envelopes", "first", "expected"),
    [
        ({}, A, None),
        ({A: A.sign(PAYLOAD)}, A, A),
        ({B: B.sign(PAYLOAD)}, A, B),
        ({A: A.sign(PAYLOAD), B: B.sign(PAYLOAD)}, A, A),
        ({A: A.sign(PAYLOAD), B: B.sign(PAYLOAD)}, B, B),
        ({A: A.sign(PAYLOAD), B: B.sign(PAYLOAD)}, STRANGER, A),
        ({STRANGER: STRANGER.sign(PAYLOAD)}, STRANGER, None),
        ({A: b"{}", B: B.sign(PAYLOAD)}, A, B),
        ({A: A.sign(ELSEWHERE[0]), B: B.sign(PAYLOAD)}, A, B),
        ({A: A.sign(b"{}"), B: B.sign(PAYLOAD)}, A, B),
    ],
    ids=[
        "none is there", "the only one", "another's", "the operator's own first", "whoever that is",
        "by name where the operator has none", "an untrusted one is not even read", "an unsigned one is passed over",
        "a copied one too", "and one that can't be read",
    ],
)  # fmt: skip
def test_one_manifest_counts(envelopes: dict[Signer, bytes], first: Signer, expected: Signer | None) -> None:
    read = {signer.signer: envelope for signer, envelope in envelopes.items()}.get
    found = counting_manifest(read, KEYS, first.signer, PLACE)
    assert (found and found.signer) == (expected and expected.signer)


def test_where_all_are_refused_the_reason_is_the_last_ones() -> None:
    read = {A.signer: b"{}", B.signer: B.sign(ELSEWHERE[0])}.get
    with pytest.raises(WrongKeyError, match="others/k/nvidia-l4-x86-64, not to models/k/nvidia-l4-x86-64"):
        counting_manifest(read, KEYS, A.signer, PLACE)


def test_a_store_that_does_not_answer_is_an_error() -> None:
    def read(_signer: str) -> bytes | None:
        raise StoreUnavailableError("no answer")

    with pytest.raises(StoreUnavailableError):
        counting_manifest(read, KEYS, A.signer, PLACE)
