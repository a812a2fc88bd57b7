"""What pods say of their engine: which container it is, and in what state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecast_operator.identity import CONTAINER_ANNOTATION

Pod = Mapping[str, Any]


def engine_name(pod: Pod) -> str:
    """The container that runs the engine, as the operator noted it in the pod's template."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(CONTAINER_ANNOTATION, ""))


def engine_status(pod: Pod) -> Mapping[str, Any]:
    """The engine's container status; empty before the kubelet reports one."""
    name, statuses = engine_name(pod), (pod.get("status") or {}).get("containerStatuses") or ()
    found: Mapping[str, Any] = next((status for status in statuses if status["name"] == name), {})
    return found
