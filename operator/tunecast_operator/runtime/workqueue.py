"""The queue between watches and reconcilers, like that of client-go: deduplicated, delayed and rate-limited.

An item that is added while a worker processes it is processed once more afterwards. So no change is missed, and no
object is reconciled by two workers at the same time.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple


class Item(NamedTuple):
    """Kind, namespace and name of an object."""

    kind: str
    namespace: str
    name: str


class WorkQueue:
    """Thread-safe. All times are seconds of ``clock``."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        base: float = 0.5,
        ceiling: float = 60.0,
    ) -> None:
        self._clock, self._jitter, self._base, self._ceiling = clock, jitter, base, ceiling
        self._changed = threading.Condition()
        self._due: dict[Item, float] = {}
        self._heap: list[tuple[float, Item]] = []
        self._active: set[Item] = set()
        self._failures: dict[Item, int] = {}
        self._closed = False

    def __len__(self) -> int:
        """Returns the number of items that wait or are being processed."""
        with self._changed:
            return len(self._due) + len(self._active - self._due.keys())

    @property
    def backlog(self) -> int:
        """Number of items that are due or being processed, without those that are due later."""
        with self._changed:
            now = self._clock()
            waiting = {item for item, due in self._due.items() if due <= now}
            return len(waiting | self._active)

    def add(self, item: Item, after: float = 0.0) -> None:
        """Adds ``item``, which is due ``after`` seconds from now or when it already was, whichever is earlier."""
        with self._changed:
            due = self._clock() + after
            if due < self._due.get(item, float("inf")):
                self._due[item] = due
                heapq.heappush(self._heap, (due, item))
                self._changed.notify()

    def retry(self, item: Item) -> float:
        """Adds ``item`` again after an exponential, jittered delay in seconds, which is returned."""
        with self._changed:
            failures = self._failures[item] = self._failures.get(item, 0) + 1
        delay = min(self._ceiling, self._base * 2.0 ** min(failures - 1, 30)) * (0.5 + self._jitter() / 2)
        self.add(item, delay)
        return delay

    def forget(self, item: Item) -> None:
        """Resets the backoff of ``item`` after a success."""
        with self._changed:
            self._failures.pop(item, None)

    def get(self) -> Item | None:
        """Waits for the next due item. Returns None once the queue is closed. Call ``done`` afterwards."""
        with self._changed:
            while not self._closed:
                now = self._clock()
                item = self._next_due(now)
                if item is not None:
                    self._active.add(item)
                    return item
                self._changed.wait(self._heap[0][0] - now if self._heap and self._heap[0][0] > now else None)
            return None

    def done(self, item: Item) -> None:
        """Marks ``item`` as processed. If it was added in the meantime, it is due again."""
        with self._changed:
            self._active.discard(item)
            if item in self._due:
                heapq.heappush(self._heap, (self._due[item], item))
            self._changed.notify_all()

    def close(self) -> None:
        """Makes every ``get`` return None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next_due(self, now: float) -> Item | None:
        while self._heap and self._heap[0][0] <= now:
            due, item = heapq.heappop(self._heap)
            if self._due.get(item) != due or item in self._active:
                continue
            del self._due[item]
            return item
        return None
