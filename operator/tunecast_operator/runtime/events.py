"""Builds one Event for each transition. Its name depends on the transition, so that it is created only once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tunecast_operator import times
from tunecast_operator.conditions import Transition
from tunecast_operator.identity import digest

COMPONENT = "tunecast"


def event(owner: dict[str, Any], transition: Transition, now: datetime) -> dict[str, Any]:
    """Returns the Event to create. The same transition always gives the same name."""
    metadata, condition = owner["metadata"], transition.condition
    identity = [metadata["uid"], condition.type, condition.status, condition.reason, transition.previous]
    moment = times.text(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{digest(identity)[:16]}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": "Warning" if condition.warning else "Normal",
        "reason": condition.reason,
        "message": condition.message[:1024] or condition.reason,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
    }
