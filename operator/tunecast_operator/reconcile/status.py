"""Writes status: first Events, then the whole status, and only if something differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tunecast_operator import times
from tunecast_operator.api.status import CommonStatus, read_status, status_object
from tunecast_operator.conditions import Condition, merge
from tunecast_operator.runtime.cluster import EVENT, Cluster, Kind
from tunecast_operator.runtime.events import event
from tunecast_operator.runtime.metrics import Key, Metrics


@dataclass(frozen=True, slots=True)
class StatusWriter:
    """Writes the status of one kind. Transitions become Events if ``has_event`` is true, and metrics."""

    cluster: Cluster
    kind: Kind
    has_event: Callable[[Condition], bool]
    metrics: Metrics
    now: Callable[[], datetime]

    def write(self, owner: dict[str, Any], status: CommonStatus, conditions: Iterable[Condition]) -> None:
        """Writes ``status`` with merged conditions.

        An operator that crashed in between creates the same Event again, which exists already.

        Raises:
            ConflictError: the object changed since it was read.
        """
        old = read_status(type(status), owner)
        generation, now = owner["metadata"]["generation"], self.now()
        merged, transitions = merge(old.conditions, conditions, generation, times.text(now))
        new = status.model_copy(update={"conditions": merged, "observed_generation": generation})
        written = status_object(new)
        if written != (owner.get("status") or {}):
            for transition in transitions:
                if self.has_event(transition.condition):
                    self.cluster.create(EVENT, event(owner, transition, now))
            self.cluster.update_status(self.kind, {**_named(owner), "status": written})
            self.metrics.transitioned(self.kind.name, transitions)
        self.metrics.observe(self.key(owner["metadata"]["namespace"], owner["metadata"]["name"]), old, new)

    def gone(self, namespace: str, name: str) -> None:
        """Drops the metrics of an object that is gone."""
        self.metrics.forget(self.key(namespace, name))

    def key(self, namespace: str, name: str) -> Key:
        return self.kind.name, namespace, name


def _named(owner: dict[str, Any]) -> dict[str, Any]:
    """Returns the object's identity and resourceVersion, which is all that a write of its status needs."""
    metadata = {name: owner["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "metadata": metadata}
