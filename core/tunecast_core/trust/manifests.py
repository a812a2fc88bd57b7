"""Which manifest of a key counts. The operator and init containers both decide it here, so both go by the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tunecast_core.errors import MalformedError, SignatureError, WrongKeyError
from tunecast_core.records.codec import decode
from tunecast_core.records.manifest import Manifest
from tunecast_core.trust.signing import verify

REFUSED = (SignatureError, WrongKeyError, MalformedError)  # errors of a manifest that doesn't count


@dataclass(frozen=True, slots=True)
class Place:
    """What the manifests of one place in the store are of. Each signer has one manifest there."""

    namespace: str
    key: str
    hardware: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.key}/{self.hardware}"


@dataclass(frozen=True, slots=True)
class VerifiedManifest:
    """A manifest that a trusted key signed."""

    manifest: Manifest
    digest: str  # SHA-256 of the signed payload, hex
    signer: str  # whose place it was read from


def verify_manifest(envelope: bytes, keys: Mapping[str, str], place: Place, signer: str) -> VerifiedManifest:
    """Verifies what was read from the place of ``signer``.

    Args:
        envelope: the signed manifest.
        keys: trusted public keys, by signer.
        place: where it was read.
        signer: likewise.

    Raises:
        SignatureError: no trusted key signed it.
        WrongKeyError: it is of another namespace, key or hardware.
        MalformedError: it is no manifest that this version can read.
    """
    payload, _ = verify(envelope, keys)
    manifest = decode(Manifest, payload, f"the manifest of {place}")
    found = Place(manifest.namespace, manifest.key, manifest.hardware)
    if found != place:
        raise WrongKeyError(f"the manifest is of {found}, not of {place}")
    return VerifiedManifest(manifest, hashlib.sha256(payload).hexdigest(), signer)


def counting_manifest(
    read: Callable[[str], bytes | None], keys: Mapping[str, str], first: str, place: Place
) -> VerifiedManifest | None:
    """Finds the one manifest of a place that counts: the first that verifies, in the order of its signers' names.

    It alone counts, whatever else is wrong with its bundle: a quarantined or incomplete one is replaced by no other.

    Args:
        read: returns the envelope of a signer, or None where there is none.
        keys: trusted public keys, by signer.
        first: the operator's own signer, whose manifest comes before all others'.
        place: where to look.

    Returns:
        The manifest, or None where there is none at all.

    Raises:
        SignatureError, WrongKeyError, MalformedError: there are manifests, and none of them verifies.
    """
    refused: Exception | None = None
    for signer in sorted(keys, key=lambda name: (name != first, name)):
        try:
            if (envelope := read(signer)) is not None:
                return verify_manifest(envelope, keys, place, signer)
        except REFUSED as error:
            refused = error
    if refused:
        raise refused
    return None
