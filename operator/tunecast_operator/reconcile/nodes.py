"""Labels of nodes, asked for rarely: they change rarely."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tunecast_operator.cluster import NODE, Cluster, RejectedError

KEPT_SECONDS = 600.0


@dataclass
class Nodes:
    """Knows no labels where it isn't ``allowed`` to read nodes. Thread-safe: at worst a node is asked for twice."""

    cluster: Cluster
    allowed: bool
    clock: Callable[[], float] = time.monotonic
    known: dict[str, tuple[float, dict[str, str]]] = field(default_factory=dict)

    def labels(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """By node; a node that is gone has none."""
        return {name: self._of(name) for name in sorted(set(names)) if name and self.allowed}

    def _of(self, name: str) -> dict[str, str]:
        until, labels = self.known.get(name, (0.0, {}))
        if self.clock() < until:
            return labels
        try:
            found = self.cluster.get(NODE, "", name) or {}
        except RejectedError:  # by RBAC that somebody narrowed: then it isn't known
            found = {}
        labels = dict(found.get("metadata", {}).get("labels") or {})
        self.known[name] = (self.clock() + KEPT_SECONDS, labels)
        return labels
