"""Computes the key: a digest of everything that decides whether a bundle fits a pod."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from tunecast_core.records.codec import canonical

KEY_VERSION = 1
MOUNT_PATH = "/var/cache/tunecast"  # the same in ranks and replicas, since engines don't find caches that move


def compute_key(inputs: Mapping[str, Any], version: int = KEY_VERSION) -> str:
    """Returns the key as 52 lower-case letters and digits, which fit into a label and hold all bits of SHA-256.

    Args:
        inputs: JSON values by name, in any order.
        version: raised when the meaning of the inputs changes, so that old bundles no longer match.
    """
    digest = hashlib.sha256(canonical({"version": version, "mountPath": MOUNT_PATH, "inputs": inputs})).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()
