"""Gives StartupCaches slots to tune in, as many as the installation's limits allow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.plan.slots import Queued, SlotLimits, Standing, queued, standing, waited_for
from tunecast_operator.runtime.cluster import ConflictError
from tunecast_operator.runtime.startup_caches import StartupCaches


class TuningSlots:
    """Thread-safe. ``enqueue`` is called with each StartupCache that waits when one ahead of it no longer does.

    Status shows who holds a slot, so a restarted operator knows it. A slot that was given a moment ago is reserved
    here until the watch shows the attempt, so that two workers don't begin attempts in the same slot.
    """

    def __init__(
        self,
        caches: StartupCaches,
        limits: SlotLimits,
        now: Callable[[], datetime],
        enqueue: Callable[[str, str], None],
    ) -> None:
        self._caches, self._limits, self._now, self._enqueue = caches, limits, now, enqueue
        self._lock = threading.Lock()
        self._reserved: set[tuple[str, str]] = set()
        caches.subscribe(self._changed)

    def take(self, cache: StartupCache) -> Queued | None:
        """Reserves a slot for ``cache``, or returns its position in the queue.

        Raises:
            ConflictError: the StartupCaches of the cluster aren't known yet. Try again.
        """
        if not self._limits:
            return None
        if not self._caches.synced:
            raise ConflictError("the StartupCaches of the cluster are still being listed")
        with self._lock:
            found = queued(cache, self._caches.list(), self._limits, self._now(), self._reserved)
            if found is None:
                self._reserved.add(cache.identity)
            return found

    def release(self, namespace: str, name: str) -> None:
        """Gives back a slot in which no attempt runs."""
        with self._lock:
            if (namespace, name) not in self._reserved:
                return
            self._reserved.remove((namespace, name))
        self._enqueue_waiting()

    def waited_for(self, cache: StartupCache) -> bool:
        """Whether another StartupCache would begin an attempt if ``cache`` held no slot."""
        return bool(self._limits) and waited_for(cache, self._caches.list(), self._limits, self._now())

    def _changed(self, old: StartupCache | None, new: StartupCache | None) -> None:
        if new and new.status.job:
            with self._lock:
                self._reserved.discard(new.identity)
        before = standing(old) if old else Standing.NONE
        after = standing(new) if new else Standing.NONE
        if self._limits and before not in {after, Standing.NONE}:
            self._enqueue_waiting()

    def _enqueue_waiting(self) -> None:
        waiting = [cache for cache in self._caches.list() if cache.status.queue_position]
        for cache in sorted(waiting, key=lambda cache: cache.status.queue_position or 0):
            self._enqueue(*cache.identity)
