"""Lets one StartupCache of a key and hardware tune at a time, since its bundle fits all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import State
from tunecast_operator.conditions import OVERDUE, ConditionType

_UNDECIDED = {State.PENDING, State.TUNING, State.PUBLISHING}


@dataclass(frozen=True, slots=True)
class Rival:
    """Another StartupCache of the same key and hardware, which tunes now or goes first."""

    name: str
    runs: bool  # its ranks run, or its bundle is being published: its end is bounded by its ``timeout``


def rival(cache: StartupCache, same_key: Iterable[StartupCache]) -> Rival | None:
    """Returns the StartupCache that ``cache`` waits for; None if ``cache`` itself may tune.

    A StartupCache whose ``queueTimeout`` has passed blocks no other. An older one without a status does: two workers
    may reconcile both at the same time, right after they were created.
    """
    asked = cache.asked_hardware
    others = [other for other in same_key if other.name != cache.name and other.asked_hardware == asked]
    ahead = [other for other in others if _tunes(other) and (other.status.job or _age(other) < _age(cache))]
    first = min(ahead, key=lambda other: (not other.status.job, _age(other)), default=None)
    return Rival(first.name, first.state in {State.TUNING, State.PUBLISHING}) if first else None


def _tunes(cache: StartupCache) -> bool:
    status = cache.status
    if cache.deleting:
        return False
    overdue = status.reason(ConditionType.READY) in OVERDUE
    wanted = bool(status.referred_by or status.used_by)
    return not status.written or (wanted and cache.state in _UNDECIDED and not overdue)


def _age(cache: StartupCache) -> tuple[str, str]:
    """Orders StartupCaches from the oldest to the youngest."""
    return cache.created, cache.name
