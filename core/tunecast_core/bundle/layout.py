"""Names of the objects in the bucket."""

from __future__ import annotations


def _join(prefix: str, *parts: str) -> str:
    return "/".join([*([prefix.strip("/")] if prefix.strip("/") else []), "v1", *parts])


def manifest_object(prefix: str, namespace: str, key: str, hardware: str, signer: str) -> str:
    """Returns the name of a signer's manifest for a key and a name of hardware (``hardware.py``)."""
    return _join(prefix, namespace, "manifests", key, hardware, f"{signer}.json")


def blob_object(prefix: str, namespace: str, digest: str) -> str:
    return _join(prefix, namespace, "blobs", "sha256", digest)


def staging_prefix(prefix: str, namespace: str, key: str, attempt_id: str) -> str:
    """Returns the prefix of an attempt. It ends with a slash, so that it is no prefix of another attempt's."""
    return _join(prefix, namespace, "staging", key, attempt_id) + "/"


def staging_of(prefix: str, namespace: str, key: str, uid: str) -> str:
    """Returns the common prefix of all attempts of one StartupCache, and of no other, since uids have one length."""
    return _join(prefix, namespace, "staging", key, f"{uid}-")


def manifests_prefix(prefix: str, namespace: str, key: str) -> str:
    return _join(prefix, namespace, "manifests", key) + "/"


def staging_root(prefix: str, namespace: str) -> str:
    """Returns the common prefix of all attempts of a namespace."""
    return _join(prefix, namespace, "staging") + "/"


def check_object(prefix: str, name: str) -> str:
    """Returns the name of an object of a store check. No namespace collides, since their names have no underscore."""
    return _join(prefix, "_check", name)
