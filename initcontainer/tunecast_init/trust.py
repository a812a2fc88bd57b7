"""Reads the trust ConfigMap, which the kubelet mounts."""

from __future__ import annotations

from pathlib import Path

from tunecast_core.errors import MalformedError, TunecastError
from tunecast_core.records import report
from tunecast_core.records.codec import decode
from tunecast_core.trust.settings import FILE, Trust


class RefusedError(TunecastError):
    """Nothing is installed, for a reason of ``tunecast_core.records.report``."""

    def __init__(self, reason: str, message: str, manifest: str = "") -> None:
        """``manifest`` is the digest of the manifest of a quarantined bundle, if that is the reason."""
        super().__init__(message)
        self.reason, self.manifest = reason, manifest


def read_trust(directory: Path) -> Trust:
    """Raises RefusedError(NO_TRUST) if the trust ConfigMap is missing, can't be read, or trusts no key."""
    try:
        trust = decode(Trust, (directory / FILE).read_bytes(), f"{directory}/{FILE}")
    except (OSError, MalformedError) as error:
        raise RefusedError(report.NO_TRUST, f"no trust: {error}; does the operator serve this namespace?") from error
    if not trust.keys:
        raise RefusedError(report.NO_TRUST, f"{directory}/{FILE} trusts no key; does the operator run?")
    return trust
