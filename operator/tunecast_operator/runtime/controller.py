"""Worker threads that get items from a queue and run their reconcilers."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping

from tunecast_core.errors import TunecastError
from tunecast_operator.runtime.cluster import ConflictError
from tunecast_operator.runtime.metrics import Metrics
from tunecast_operator.runtime.workqueue import Item, WorkQueue

log = logging.getLogger(__name__)
Reconcile = Callable[[str, str], float | None]
RESYNC_SECONDS = 600.0
RESYNC_JITTER = 0.2
GONE = float("inf")  # a reconciler returns it for an object that doesn't exist, which isn't requeued


class Controller:
    """Runs the reconciler of each item. Requeues with backoff on error, and resyncs on success."""

    def __init__(self, queue: WorkQueue, reconcilers: Mapping[str, Reconcile], workers: int, metrics: Metrics) -> None:
        self.queue, self._reconcilers, self._metrics = queue, reconcilers, metrics
        self._threads = [threading.Thread(target=self._work, name=f"worker-{n}", daemon=True) for n in range(workers)]

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self._reconcilers)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self, until: float) -> None:
        """Waits for the workers of a closed queue, until ``until`` on the clock ``time.monotonic``."""
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while (item := self.queue.get()) is not None:
            try:
                self.run(item)
            finally:
                self.queue.done(item)

    def run(self, item: Item) -> None:
        """Runs one reconciliation and measures it."""
        started = time.monotonic()
        result = self._run(item)
        self._metrics.reconciled(item.kind, result, time.monotonic() - started)

    def _run(self, item: Item) -> str:
        """Returns the result. An unexpected exception is logged with its traceback, and the item is requeued."""
        try:
            again = self._reconcilers[item.kind](item.namespace, item.name)
        except ConflictError as error:
            log.debug("%s %s/%s: %s", *item, error)
            self.queue.retry(item)
            return "Conflict"
        except TunecastError as error:
            log.warning("%s %s/%s: %s; requeued in %.0f s", *item, error, self.queue.retry(item))
            return "Failure"
        except Exception:
            log.exception("%s %s/%s: a bug in Tunecast; requeued in %.0f s", *item, self.queue.retry(item))
            return "Bug"
        self.queue.forget(item)
        if again != GONE:
            resync = RESYNC_SECONDS * (1 + RESYNC_JITTER * random.random())  # noqa: S311 - spreads load
            self.queue.add(item, resync if again is None else min(again, resync))
        return "Success"
