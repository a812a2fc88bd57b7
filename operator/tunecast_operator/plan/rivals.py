"""StartupCaches of one key: one of them tunes at a time, since its bundle does for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tunecast_operator import conditions as c

_UNDECIDED = {"Pending", "Tuning", "Publishing"}


@dataclass(frozen=True, slots=True)
class Rival:
    """Another StartupCache that tunes the same key now, or comes first."""

    name: str
    runs: bool  # its ranks run, or its bundle is being published: its end is bounded by its ``timeout``


def rival(cache: Mapping[str, Any], same_key: Iterable[Mapping[str, Any]]) -> Rival | None:
    """The StartupCache that ``cache`` waits for; None where ``cache`` itself may tune.

    One that waits for capacity longer than its users wanted holds nobody up. An older one that no reconciler has looked
    at yet does: both may have been created a moment ago, and be looked at by two workers at the same time.
    """
    others = [other for other in same_key if other["metadata"]["name"] != cache["metadata"]["name"]]
    ahead = [other for other in others if _tunes(other) and (_under_way(other) or _age(other) < _age(cache))]
    first = min(ahead, key=lambda other: (not _under_way(other), _age(other)), default=None)
    return Rival(str(first["metadata"]["name"]), _state(first) in {"Tuning", "Publishing"}) if first else None


def _tunes(cache: Mapping[str, Any]) -> bool:
    status = cache.get("status") or {}
    if cache["metadata"].get("deletionTimestamp"):
        return False
    overdue = c.find(status, c.READY).get("reason") in c.OVERDUE
    return not status or (bool(status.get("referredBy")) and _state(cache) in _UNDECIDED and not overdue)


def _state(cache: Mapping[str, Any]) -> str:
    return str((cache.get("status") or {}).get("state", "Pending"))


def _under_way(cache: Mapping[str, Any]) -> bool:
    return bool((cache.get("status") or {}).get("job"))


def _age(cache: Mapping[str, Any]) -> tuple[str, str]:
    """Orders StartupCaches from the oldest to the youngest."""
    return str(cache["metadata"].get("creationTimestamp", "")), str(cache["metadata"]["name"])
