"""Reads labels of nodes and keeps them for a while, since they rarely change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tunecast_operator.plan.hardware import CPU_LABELS, GPU_LABELS
from tunecast_operator.runtime.cluster import NODE, Cluster, RejectedError

KEPT_SECONDS = 600.0
PREFIX = "nvidia.com/"


@dataclass
class Nodes:
    """Returns no labels if it isn't ``allowed`` to read nodes. Thread-safe: at worst, a node is read twice."""

    cluster: Cluster
    allowed: bool
    clock: Callable[[], float] = time.monotonic
    known: dict[str, tuple[float, dict[str, str]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def labels(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Returns the labels that describe hardware, by node. A node that is gone has none."""
        now = self.clock()
        with self.lock:
            self.known = {name: found for name, found in self.known.items() if found[0] > now}
        return {name: self._of(name) for name in sorted(set(names)) if name and self.allowed}

    def _of(self, name: str) -> dict[str, str]:
        with self.lock:
            if name in self.known:
                return self.known[name][1]
        try:
            found = self.cluster.get(NODE, "", name) or {}
        except RejectedError:  # RBAC forbids it, so the labels stay unknown
            found = {}
        every = found.get("metadata", {}).get("labels") or {}
        kept = {*GPU_LABELS, *CPU_LABELS}
        labels = {label: str(value) for label, value in every.items() if label.startswith(PREFIX) or label in kept}
        with self.lock:
            self.known[name] = (self.clock() + KEPT_SECONDS, labels)
        return labels
