"""The key: a digest of everything that decides whether a bundle fits a pod."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from tunecast_core.records.codec import canonical

KEY_VERSION = 1
MOUNT_PATH = "/var/cache/tunecast"  # a cache that moves is inert: one constant for Job and replicas alike


def compute_key(inputs: Mapping[str, Any], version: int = KEY_VERSION) -> str:
    """52 lower-case letters and digits: short enough for a label, with all of SHA-256's bits.

    Args:
        inputs: JSON values by name; their order doesn't matter.
        version: raised when the meaning of the inputs changes, so that old bundles no longer match.
    """
    digest = hashlib.sha256(canonical({"version": version, "mountPath": MOUNT_PATH, "inputs": inputs})).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()
