"""The installation's private key: a Secret that the operator makes once and that an uninstall keeps."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from tunecast_cache import signing
from tunecast_cache.errors import TunecastError
from tunecast_operator.cluster import SECRET, Cluster
from tunecast_operator.identity import MANAGED_BY

PRIVATE = "ed25519.key"


class SigningKeyError(TunecastError):
    reason = "BadSigningKey"


def load_signer(cluster: Cluster, namespace: str, name: str) -> signing.Signer:
    """Reads the key, making it first where there is none; of several operators that start at once, one makes it."""
    found = cluster.get(SECRET, namespace, name)
    if found is None:
        cluster.create(SECRET, _secret(namespace, name, signing.generate()))
        found = cluster.get(SECRET, namespace, name)
    try:
        return signing.Signer(base64.b64decode((found or {})["data"][PRIVATE], validate=True))
    except (KeyError, ValueError, binascii.Error) as error:
        text = f"Secret {namespace}/{name} holds no Ed25519 key in {PRIVATE}: restore it, or delete it to get a new one"
        raise SigningKeyError(text) from error


def _secret(namespace: str, name: str, private: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": MANAGED_BY},
        "type": "tunecast.io/signing-key",
        "data": {PRIVATE: base64.b64encode(private).decode()},
    }
