"""What an init container believes: manifests of its key that trusted keys signed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tunecast_core.errors import SignatureError
from tunecast_core.records import report
from tunecast_core.records.codec import decode
from tunecast_core.records.manifest import Manifest
from tunecast_core.trust.settings import Trust
from tunecast_core.trust.signing import verify
from tunecast_init.trust import RefusedError


@dataclass(frozen=True, slots=True)
class Believed:
    """A manifest, and the digest of its signed payload."""

    manifest: Manifest
    digest: str


def believe(envelope: bytes, trust: Trust, namespace: str, key: str) -> Believed:
    """Raises RefusedError unless a trusted key signed a manifest of this key and namespace that isn't quarantined."""
    try:
        payload, _ = verify(envelope, trust.keys)
        manifest = decode(Manifest, payload, "the manifest")
    except SignatureError as error:
        raise RefusedError(report.BAD_SIGNATURE, str(error)) from error
    digest = hashlib.sha256(payload).hexdigest()
    if (manifest.namespace, manifest.key) != (namespace, key):
        found = f"{manifest.namespace}/{manifest.key}"
        raise RefusedError(report.WRONG_KEY, f"the manifest is of {found}, not of {namespace}/{key}")
    if digest in trust.quarantined:
        text = f"the manifest {digest} is quarantined in the trust ConfigMap"
        raise RefusedError(report.QUARANTINED, text, digest)
    return Believed(manifest, digest)
