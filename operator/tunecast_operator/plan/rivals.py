"""KernelCaches of one key: one of them tunes at a time, since its bundle does for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tunecast_operator import conditions as c

_UNDECIDED = {"Pending", "Tuning", "Publishing"}


def rival(cache: Mapping[str, Any], same_key: Iterable[Mapping[str, Any]]) -> str:
    """The KernelCache that tunes the key of ``cache`` now, or comes first; empty where that is ``cache`` itself.

    One that waits for capacity longer than its users wanted holds nobody up.
    """
    others = [other for other in same_key if other["metadata"]["name"] != cache["metadata"]["name"]]
    ahead = [other for other in others if _tunes(other) and (_under_way(other) or _age(other) < _age(cache))]
    first = min(ahead, key=lambda other: (not _under_way(other), _age(other)), default=None)
    return str(first["metadata"]["name"]) if first else ""


def _tunes(cache: Mapping[str, Any]) -> bool:
    status = cache.get("status") or {}
    overdue = c.find(status, c.READY).get("reason") in c.OVERDUE
    return bool(status.get("referredBy")) and status.get("state", "Pending") in _UNDECIDED and not overdue


def _under_way(cache: Mapping[str, Any]) -> bool:
    return bool((cache.get("status") or {}).get("job"))


def _age(cache: Mapping[str, Any]) -> tuple[str, str]:
    """Orders KernelCaches from the oldest to the youngest."""
    return str(cache["metadata"].get("creationTimestamp", "")), str(cache["metadata"]["name"])
