"""The one way a status is written: Events first, then the whole status, and only where something differs."""

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
    """Statuses of one kind, whose transitions are Events where they are ``told``, and metrics."""

    cluster: Cluster
    kind: Kind
    told: Callable[[Condition], bool]
    metrics: Metrics
    now: Callable[[], datetime]

    def write(self, owner: dict[str, Any], status: CommonStatus, conditions: Iterable[Condition]) -> None:
        """Writes ``status`` with merged conditions.

        An operator that dies in between writes the same Event again, under the same name.

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
                if self.told(transition.condition):
                    self.cluster.create(EVENT, event(owner, transition, now))
            self.cluster.update_status(self.kind, {**_named(owner), "status": written})
            self.metrics.transitioned(self.kind.name, transitions)
        self.metrics.has(self.key(owner["metadata"]["namespace"], owner["metadata"]["name"]), old, new)

    def gone(self, namespace: str, name: str) -> None:
        """The object isn't there any more."""
        self.metrics.lacks(self.key(namespace, name))

    def key(self, namespace: str, name: str) -> Key:
        return self.kind.name, namespace, name


def _named(owner: dict[str, Any]) -> dict[str, Any]:
    """Which object, as it was read: the API server takes no more of it where a status is written."""
    metadata = {name: owner["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "metadata": metadata}
