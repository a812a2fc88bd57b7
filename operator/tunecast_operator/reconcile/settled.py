"""Remembers how admission changed applied objects, so that a stable difference isn't written again and again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from tunecast_core.records.codec import canonical
from tunecast_operator.runtime.cluster import Kind


class Settled:
    """Applied objects and the API server's answers. No two workers process the same object."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], tuple[str, str]] = {}

    def holds(self, kind: Kind, desired: Mapping[str, Any], live: Mapping[str, Any] | None) -> bool:
        """Whether ``live`` is still the answer to the same ``desired``, so that another write would change nothing."""
        return live is not None and self._known.get(_name(kind, desired)) == (_digest(desired), _digest(live))

    def applied(self, kind: Kind, desired: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Records the API server's answer to a write."""
        self._known[_name(kind, desired)] = (_digest(desired), _digest(answer))

    def gone(self, namespace: str, name: str) -> None:
        """Forgets all objects of this name."""
        self._known = {key: value for key, value in self._known.items() if key[1:] != (namespace, name)}


def _name(kind: Kind, item: Mapping[str, Any]) -> tuple[str, str, str]:
    return kind.name, item["metadata"]["namespace"], item["metadata"]["name"]


def _digest(item: Mapping[str, Any]) -> str:
    """Returns a digest of an object without status and server-set metadata."""
    metadata = {field: item["metadata"].get(field) for field in ("uid", "labels", "annotations", "ownerReferences")}
    rest = {field: value for field, value in item.items() if field not in {"metadata", "status"}}
    return hashlib.sha256(canonical({**rest, "metadata": metadata})).hexdigest()
