"""Selects the manifest of a key. The operator and init containers share this code, so they select the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tunecast_core.errors import MalformedError, SignatureError, WrongKeyError
from tunecast_core.records.codec import decode
from tunecast_core.records.manifest import Manifest
from tunecast_core.trust.signing import verify

REFUSED = (SignatureError, WrongKeyError, MalformedError)  # errors for which a manifest is passed over


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the store, where each signer can have one manifest."""

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
    signer: str  # the signer in the name of the object


def verify_manifest(envelope: bytes, keys: Mapping[str, str], place: Place, signer: str) -> VerifiedManifest:
    """Verifies an envelope that was read from a place in the store.

    Args:
        envelope: the signed manifest.
        keys: trusted public keys, by signer.
        place: the place of the manifest.
        signer: the signer in the name of the object.

    Raises:
        SignatureError: no trusted key signed the manifest.
        WrongKeyError: the manifest belongs to another namespace, key or hardware.
        MalformedError: this version can't read the manifest.
    """
    payload, _ = verify(envelope, keys)
    manifest = decode(Manifest, payload, f"the manifest of {place}")
    found = Place(manifest.namespace, manifest.key, manifest.hardware)
    if found != place:
        raise WrongKeyError(f"the manifest belongs to {found}, not to {place}")
    return VerifiedManifest(manifest, hashlib.sha256(payload).hexdigest(), signer)


def counting_manifest(
    read: Callable[[str], bytes | None], keys: Mapping[str, str], first: str, place: Place
) -> VerifiedManifest | None:
    """Selects the first manifest of a place that verifies, in the order of the signers' names.

    No other manifest replaces the selected one, even if its bundle is quarantined or incomplete.

    Args:
        read: returns the envelope of a signer, or None if there is none.
        keys: trusted public keys, by signer.
        first: the operator's own signer, whose manifest precedes all others.
        place: the place of the manifests.

    Returns:
        The manifest, or None if the place has no manifest of a trusted signer.

    Raises:
        SignatureError, WrongKeyError, MalformedError: there are manifests, but none of them verifies.
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
