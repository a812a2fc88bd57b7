"""An API server that only lists StartupCaches, and slots for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kubernetes.client import ApiClient, Configuration

from support.objects import NOW
from tunecast_operator.plan.slots import SlotLimits
from tunecast_operator.runtime.cluster import Cluster, Object
from tunecast_operator.runtime.startup_caches import StartupCaches
from tunecast_operator.runtime.tuning_slots import TuningSlots

KEY = "a" * 52


class ListedCaches(Cluster):
    """Lists ``items``, each change of which has a new resourceVersion."""

    def __init__(self) -> None:
        super().__init__(ApiClient(Configuration()))
        self.items: dict[tuple[str, str], Object] = {}
        self._version = 0

    def put(self, namespace: str, name: str, created: str, status: dict[str, Any], key: str = KEY) -> None:
        self._version += 1
        metadata = {
            "namespace": namespace,
            "name": name,
            "creationTimestamp": created,
            "resourceVersion": str(self._version),
        }
        self.items[namespace, name] = {"metadata": metadata, "spec": {"key": key}, "status": status}

    def _call(self, *_: Any, **__: Any) -> Object | None:
        return {"items": [*self.items.values()], "metadata": {"resourceVersion": str(self._version)}}


def unlimited(cluster: Cluster) -> TuningSlots:
    """Returns slots for any number of tunings."""
    return TuningSlots(StartupCaches(cluster), SlotLimits(), now, lambda _namespace, _name: None)


def now() -> datetime:
    return NOW
