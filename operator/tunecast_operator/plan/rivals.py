"""StartupCaches of one key and hardware: one of them tunes at a time, since its bundle does for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tunecast_operator import conditions as c
from tunecast_operator.api.startup_cache import StartupCache

_UNDECIDED = {"Pending", "Tuning", "Publishing"}


@dataclass(frozen=True, slots=True)
class Rival:
    """Another StartupCache that tunes the same key for the same hardware now, or comes first."""

    name: str
    runs: bool  # its ranks run, or its bundle is being published: its end is bounded by its ``timeout``


def rival(cache: StartupCache, same_key: Iterable[StartupCache]) -> Rival | None:
    """The StartupCache that ``cache`` waits for; None where ``cache`` itself may tune.

    One that waits for capacity longer than its users wanted holds nobody up. An older one that no reconciler has looked
    at yet does: both may have been created a moment ago, and be looked at by two workers at the same time.
    """
    asked = cache.asked_hardware
    others = [other for other in same_key if other.name != cache.name and other.asked_hardware == asked]
    ahead = [other for other in others if _tunes(other) and (other.status.job or _age(other) < _age(cache))]
    first = min(ahead, key=lambda other: (not other.status.job, _age(other)), default=None)
    return Rival(first.name, first.state in {"Tuning", "Publishing"}) if first else None


def _tunes(cache: StartupCache) -> bool:
    status = cache.status
    if cache.deleting:
        return False
    overdue = status.reason(c.READY) in c.OVERDUE
    return not status.written or (bool(status.referred_by) and cache.state in _UNDECIDED and not overdue)


def _age(cache: StartupCache) -> tuple[str, str]:
    """Orders StartupCaches from the oldest to the youngest."""
    return cache.created, cache.name
