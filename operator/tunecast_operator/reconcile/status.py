"""The one way a status is written: Events first, then the whole status, and only where something differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from tunecast_operator import times
from tunecast_operator.cluster import EVENT, Cluster, Kind
from tunecast_operator.conditions import Condition, merge
from tunecast_operator.events import event


def write_status(
    cluster: Cluster,
    kind: Kind,
    owner: dict[str, Any],
    status: dict[str, Any],
    conditions: Iterable[Condition],
    told: Callable[[Condition], bool],
    now: datetime,
) -> None:
    """Writes ``status`` with merged conditions, and an Event for each transition that is ``told``.

    An operator that dies in between writes the same Event again, under the same name.

    Raises:
        ConflictError: the object changed since it was read.
    """
    old = owner.get("status") or {}
    generation = owner["metadata"]["generation"]
    merged, transitions = merge(old.get("conditions", ()), conditions, generation, times.text(now))
    new = {**status, "conditions": merged, "observedGeneration": generation}
    if new == old:
        return
    for transition in transitions:
        if told(transition.condition):
            cluster.create(EVENT, event(owner, transition, now))
    cluster.update_status(kind, {**owner, "status": new})
