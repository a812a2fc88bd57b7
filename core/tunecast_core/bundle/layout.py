"""Names of objects in the bucket."""

from __future__ import annotations


def _join(prefix: str, *parts: str) -> str:
    return "/".join([*([prefix.strip("/")] if prefix.strip("/") else []), "v1", *parts])


def manifest_object(prefix: str, namespace: str, key: str, hardware: str, signer: str) -> str:
    """``hardware`` is a name of ``hardware.py``: a bundle is found by its key and by what it was made on."""
    return _join(prefix, namespace, "manifests", key, hardware, f"{signer}.json")


def blob_object(prefix: str, namespace: str, digest: str) -> str:
    return _join(prefix, namespace, "blobs", "sha256", digest)


def staging_prefix(prefix: str, namespace: str, key: str, attempt_id: str) -> str:
    """Ends with a slash, so that one attempt's prefix is never the start of another's."""
    return _join(prefix, namespace, "staging", key, attempt_id) + "/"


def staging_of(prefix: str, namespace: str, key: str, uid: str) -> str:
    """Above every attempt of one StartupCache, and of no other: uids have one length."""
    return _join(prefix, namespace, "staging", key, f"{uid}-")


def manifests_prefix(prefix: str, namespace: str, key: str) -> str:
    return _join(prefix, namespace, "manifests", key) + "/"


def staging_root(prefix: str, namespace: str) -> str:
    """Above every attempt's prefix."""
    return _join(prefix, namespace, "staging") + "/"


def check_object(prefix: str, name: str) -> str:
    """An object of a check of the store; no namespace's name has an underscore."""
    return _join(prefix, "_check", name)
