"""Reads labels of nodes and keeps them for a while, since they rarely change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tunecast_operator.plan.hardware import CPU_LABELS, GPU_LABELS
from tunecast_operator.runtime.cluster import NODE, Cluster, Object, RejectedError

KEPT_SECONDS = 600.0
PREFIX = "nvidia.com/"


@dataclass
class Nodes:
    """Returns no labels if it isn't ``allowed`` to read nodes. Thread-safe: at worst, a node is read twice."""

    cluster: Cluster
    allowed: bool
    clock: Callable[[], float] = time.monotonic
    known: dict[str, tuple[float, dict[str, str] | None]] = field(default_factory=dict)  # None: there is no such node
    lock: threading.Lock = field(default_factory=threading.Lock)

    def labels(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Returns the labels that describe hardware, by node. A node that is gone has none."""
        return {name: labels or {} for name, labels in self._read(names).items()}

    def all_gone(self, names: Iterable[str]) -> bool:
        """Whether nodes are named and none of them exists. Returns False if nodes may not be read."""
        found = self._read(names).values()
        return bool(found) and all(labels is None for labels in found)

    def _read(self, names: Iterable[str]) -> dict[str, dict[str, str] | None]:
        now = self.clock()
        with self.lock:
            self.known = {name: found for name, found in self.known.items() if found[0] > now}
        return {name: self._of(name) for name in sorted(set(names)) if name and self.allowed}

    def _of(self, name: str) -> dict[str, str] | None:
        with self.lock:
            if name in self.known:
                return self.known[name][1]
        try:
            found = self.cluster.get(NODE, "", name)
        except RejectedError:  # RBAC forbids it, so the labels stay unknown
            found = {}
        labels = None if found is None else _kept(found)
        with self.lock:
            self.known[name] = (self.clock() + KEPT_SECONDS, labels)
        return labels


def _kept(found: Object) -> dict[str, str]:
    """Returns the labels that describe hardware."""
    every = found.get("metadata", {}).get("labels") or {}
    kept = {*GPU_LABELS, *CPU_LABELS}
    return {label: str(value) for label, value in every.items() if label.startswith(PREFIX) or label in kept}
