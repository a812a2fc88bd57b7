"""Finds variables and files of a container that are secret, so that their values are never staged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SECRETS_STORE = "secrets-store.csi.k8s.io"  # the Secrets Store CSI driver
Object = Mapping[str, Any]


def secret_variables(env: Sequence[Object]) -> list[str]:
    """Returns variables that come from Secrets. Ranks add those with the name of a secret, which an image may set."""
    return sorted(v["name"] for v in env if "secretKeyRef" in (v.get("valueFrom") or {}))


def secret_paths(volumes: Sequence[Object], mounts: Sequence[Object]) -> list[str]:
    """Returns the mount paths of volumes that hold secrets in the engine's container."""
    sources = {v["name"]: [v, *((v.get("projected") or {}).get("sources") or ())] for v in volumes}
    secret = {name for name, parts in sources.items() if any(map(_is_secret, parts))}
    return sorted(mount["mountPath"] for mount in mounts if mount["name"] in secret)


def _is_secret(source: Object) -> bool:
    driver = (source.get("csi") or {}).get("driver")
    return "secret" in source or "serviceAccountToken" in source or driver == SECRETS_STORE
