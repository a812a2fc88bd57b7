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


def believe(envelope: bytes, trust: Trust, namespace: str, key: str, hardware: str) -> Believed:
    """Verifies a manifest.

    Raises:
        RefusedError: no trusted key signed it, it is of another namespace, key or hardware, or it is quarantined.
    """
    try:
        payload, _ = verify(envelope, trust.keys)
        manifest = decode(Manifest, payload, "the manifest")
    except SignatureError as error:
        raise RefusedError(report.BAD_SIGNATURE, str(error)) from error
    digest = hashlib.sha256(payload).hexdigest()
    found, wanted = (manifest.namespace, manifest.key, manifest.hardware), (namespace, key, hardware)
    if found != wanted:
        raise RefusedError(report.WRONG_KEY, f"the manifest is of {'/'.join(found)}, not of {'/'.join(wanted)}")
    if digest in trust.quarantined:
        text = f"the manifest {digest} is quarantined in the trust ConfigMap"
        raise RefusedError(report.QUARANTINED, text, digest)
    return Believed(manifest, digest)
