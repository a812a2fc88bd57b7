"""Deletes staged objects of StartupCaches that are gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tunecast_operator.runtime.cluster import STARTUP_CACHE, Cluster
from tunecast_operator.runtime.controller import GONE
from tunecast_operator.runtime.publisher import Publisher

SWEEP_PERIOD = timedelta(hours=1)


class _Known(NamedTuple):
    key: str
    uid: str
    seen: datetime


class Orphans:
    """Deletes staged objects of a known StartupCache by prefix, at each event about it.

    Objects of unknown ones, such as one that was deleted while no operator ran, are found in a sweep of the namespace's
    staged objects, at most once in SWEEP_PERIOD.
    """

    def __init__(self, cluster: Cluster, publisher: Publisher, now: Callable[[], datetime]) -> None:
        self._cluster, self._publisher, self._now = cluster, publisher, now
        self._known: dict[tuple[str, str], _Known] = {}
        self._swept: dict[str, datetime] = {}

    def exists(self, cache: dict[str, Any]) -> None:
        """Records where ``cache`` stages objects."""
        metadata = cache["metadata"]
        self._known[metadata["namespace"], metadata["name"]] = _Known(
            cache["spec"]["key"], metadata["uid"], self._now()
        )

    def clean(self, namespace: str, name: str) -> float:
        """Cleans up after a StartupCache that is gone. Returns after how many seconds to requeue.

        Raises:
            StoreError: the store failed; cleaning again is safe.
        """
        known = self._known.get((namespace, name))
        if known:
            self._publisher.clean_all(namespace, known.key, known.uid)
        wait = self._seconds_to_sweep(namespace)
        if wait <= 0:
            self._sweep(namespace)
        return GONE if known or wait <= 0 else wait

    def _seconds_to_sweep(self, namespace: str) -> float:
        swept = self._swept.get(namespace)
        return (swept + SWEEP_PERIOD - self._now()).total_seconds() if swept else 0.0

    def _sweep(self, namespace: str) -> None:
        living = {cache["metadata"]["uid"] for cache in self._cluster.list(STARTUP_CACHE, namespace)}
        self._publisher.clean_orphans(namespace, living)
        now = self._swept[namespace] = self._now()
        for where, known in [*self._known.items()]:
            if known.seen + SWEEP_PERIOD < now:  # one that exists is seen at each resync
                self._known.pop(where, None)
