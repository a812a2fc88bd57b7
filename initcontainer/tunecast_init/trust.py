"""The trust ConfigMap, as the kubelet mounts it."""

from __future__ import annotations

from pathlib import Path

from tunecast_core.errors import MalformedError, TunecastError
from tunecast_core.records import report
from tunecast_core.records.codec import decode
from tunecast_core.trust.settings import FILE, Trust


class RefusedError(TunecastError):
    """Nothing to install, for a reason of ``tunecast_core.records.report``."""

    def __init__(self, reason: str, message: str, manifest: str = "") -> None:
        """``manifest`` is the digest of a bundle that could be used, but may not."""
        super().__init__(message)
        self.reason, self.manifest = reason, manifest


def read_trust(directory: Path) -> Trust:
    """Raises RefusedError(NO_TRUST) where there is no trust ConfigMap, or none that can be read."""
    try:
        trust = decode(Trust, (directory / FILE).read_bytes(), f"{directory}/{FILE}")
    except (OSError, MalformedError) as error:
        raise RefusedError(report.NO_TRUST, f"no trust: {error}; does the operator serve this namespace?") from error
    if not trust.keys:
        raise RefusedError(report.NO_TRUST, f"{directory}/{FILE} trusts no key; does the operator run?")
    return trust
