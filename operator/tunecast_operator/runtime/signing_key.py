"""Loads the signing keys from a Secret, which the operator creates once and an administrator may extend."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from tunecast_core.errors import TunecastError
from tunecast_core.trust import signing
from tunecast_operator.identity import MANAGED_BY
from tunecast_operator.runtime.cluster import SECRET, Cluster

PRIVATE = "ed25519.key"  # entry of the key that signs
OTHER_PRIVATE, PUBLIC = ".key", ".pub"  # suffixes of entries with further trusted keys


class SigningKeyError(TunecastError):
    reason = "BadSigningKey"


@dataclass(frozen=True, slots=True)
class SigningKeys:
    signer: signing.Signer
    trusted: dict[str, str]  # signer -> public key, base64
    former: tuple[signing.Signer, ...]  # attempts that began with one of them may be under way


def load_keys(cluster: Cluster, namespace: str, name: str) -> SigningKeys:
    """Reads the keys, and creates a key first if there is none. Of several operators, only one creates it.

    Raises:
        SigningKeyError: an entry holds no key.
    """
    found = cluster.get(SECRET, namespace, name)
    if found is None:
        cluster.create(SECRET, _secret(namespace, name, signing.generate()))
        found = cluster.get(SECRET, namespace, name)
    data = {PRIVATE: "", **((found or {}).get("data") or {})}
    where = f"Secret {namespace}/{name}"
    signer = _signer(data[PRIVATE], f"{where}, {PRIVATE}")
    entries = sorted(data.items())
    private = [(entry, value) for entry, value in entries if entry.endswith(OTHER_PRIVATE) and entry != PRIVATE]
    former = tuple(_signer(value, f"{where}, {entry}") for entry, value in private)
    public = dict(_public(value, f"{where}, {entry}") for entry, value in entries if entry.endswith(PUBLIC))
    return SigningKeys(signer, {**{s.signer: s.public_key for s in (signer, *former)}, **public}, former)


def _signer(value: str, where: str) -> signing.Signer:
    try:
        return signing.Signer(base64.b64decode(value, validate=True))
    except (ValueError, binascii.Error) as error:
        raise SigningKeyError(f"{where}: no Ed25519 private key of 32 bytes: restore it, or remove it") from error


def _public(value: str, where: str) -> tuple[str, str]:
    """Decodes a public key, which is in base64 as in the trust ConfigMap, and once more since it is in a Secret."""
    try:
        text = base64.b64decode(value, validate=True).decode().strip()
        return signing.signer_of(signing.public_bytes(text)), text
    except (ValueError, binascii.Error) as error:
        raise SigningKeyError(f"{where}: no Ed25519 public key in base64: correct it, or remove it") from error


def _secret(namespace: str, name: str, private: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": MANAGED_BY},
        "type": "tunecast.io/signing-key",
        "data": {PRIVATE: base64.b64encode(private).decode()},
    }
