"""SlotLimits how many StartupCaches tune at the same time. The oldest ones go first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tunecast_operator import times
from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.conditions import ConditionType, Reason

NEW_SECONDS = 60.0  # a StartupCache without a status that is older is not waited for: its status can't be written


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """Maximum numbers of concurrent tunings, in all namespaces together and in each one. 0 means no limit."""

    everywhere: int = 0
    namespace: int = 0

    def __bool__(self) -> bool:
        return self.everywhere > 0 or self.namespace > 0


@dataclass(frozen=True, slots=True)
class Queued:
    """Position of a StartupCache in a queue for a slot.

    Attributes:
        position: counted from 1.
        running: number of tunings that hold a slot.
        limit: maximum number of them.
        namespace: namespace whose limit is reached; empty if it is the limit of all namespaces together.
    """

    position: int
    running: int
    limit: int
    namespace: str = ""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        value = "tuning.maxConcurrentPerNamespace" if self.namespace else "tuning.maxConcurrent"
        queue = "the namespace's queue" if self.namespace else "the queue"
        run = "1 tuning runs" if self.running == 1 else f"{self.running} tunings run"
        return f"{run} already{where}, and {value} is {self.limit}: this one is {ordinal(self.position)} in {queue}"


class Standing(StrEnum):
    """What a StartupCache is to the others that want to tune."""

    HOLDS = "Holds"  # it holds a slot
    WAITS = "Waits"  # it waits for one
    NONE = "None"


def standing(cache: StartupCache) -> Standing:
    """Returns the standing that a StartupCache has by its status.

    It holds a slot from the beginning of an attempt until it is decided. It keeps the slot while it pauses after a
    failed attempt, since ``timeout`` counts that time. It gives the slot back if its ranks found no room.
    """
    status = cache.status
    if cache.deleting:
        return Standing.NONE
    if status.job or status.reason(ConditionType.READY) == Reason.RETRYING:
        return Standing.HOLDS
    return Standing.WAITS if status.queue_position or not status.written else Standing.NONE


def queued(
    cache: StartupCache,
    known: Iterable[StartupCache],
    limits: SlotLimits,
    now: datetime,
    reserved: AbstractSet[tuple[str, str]] = frozenset(),
) -> Queued | None:
    """Returns the position of ``cache`` in the queue; None if it may begin an attempt.

    Args:
        cache: a StartupCache that is ready to begin an attempt.
        known: all StartupCaches of the cluster.
        limits: the limits of the installation.
        now: the current time.
        reserved: namespaces and names of StartupCaches that were given a slot, which their status may not show yet.
    """
    if standing(cache) == Standing.HOLDS or cache.identity in reserved:
        return None
    others = [other for other in known if other.identity != cache.identity]
    holds = {other.identity for other in others if standing(other) == Standing.HOLDS} | reserved
    running = Counter(namespace for namespace, _ in holds)
    ahead = [other for other in others if other.identity not in holds and _waits(other, now)]
    positions: Counter[str] = Counter()
    for one in sorted([*(other for other in ahead if _order(other) < _order(cache)), cache], key=_order):
        full = _full(running, one.namespace, limits)
        if full is None:
            running[one.namespace] += 1
        else:
            positions[full.namespace] += 1
    return None if full is None else Queued(positions[full.namespace], full.running, full.limit, full.namespace)


def waited_for(cache: StartupCache, known: Iterable[StartupCache], limits: SlotLimits, now: datetime) -> bool:
    """Whether another StartupCache would begin an attempt if ``cache`` held no slot."""
    others = [other for other in known if other.identity != cache.identity]
    waiting = (other for other in others if other.status.queue_position and standing(other) == Standing.WAITS)
    return any(queued(other, others, limits, now) is None for other in waiting)


def ordinal(number: int) -> str:
    """Returns 1st, 2nd, 3rd, 4th, ..."""
    suffix = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _full(running: Counter[str], namespace: str, limits: SlotLimits) -> Queued | None:
    """Returns the limit that is reached, with the position still to count; None if a slot is free."""
    if limits.namespace and running[namespace] >= limits.namespace:
        return Queued(0, running[namespace], limits.namespace, namespace)
    if limits.everywhere and running.total() >= limits.everywhere:
        return Queued(0, running.total(), limits.everywhere)
    return None


def _waits(cache: StartupCache, now: datetime) -> bool:
    new = cache.status.written or times.seconds_since(cache.created, now) < NEW_SECONDS
    return standing(cache) == Standing.WAITS and new


def _order(cache: StartupCache) -> tuple[int, str, str, str]:
    """Orders StartupCaches from the oldest to the youngest. Those whose ranks found no room go behind the others."""
    return cache.status.requeues or 0, cache.created, *cache.identity
