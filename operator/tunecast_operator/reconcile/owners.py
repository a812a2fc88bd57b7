"""Finds the topmost owner of a pod, which is what a user knows it by."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from tunecast_operator.plan.workloads import Workload
from tunecast_operator.runtime.cluster import DEPLOYMENT, REPLICA_SET, STATEFUL_SET, Cluster, Kind, RejectedError

_READABLE: dict[tuple[str, str], Kind] = {
    (kind.api_version, kind.name): kind for kind in (REPLICA_SET, STATEFUL_SET, DEPLOYMENT)
}
KEPT = 4096  # owners that are remembered


class Owners:
    """Follows controller references through the kinds that may be read; the last one is named without reading it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._lock = cluster, threading.Lock()
        self._known: dict[str, Workload] = {}  # by the uid of a pod's controller

    def top(self, pod: Mapping[str, Any]) -> Workload:
        """Returns the topmost owner of ``pod``; the pod itself where it has none.

        Raises:
            ClusterError: the API server did not answer.
        """
        reference = _controller(pod)
        if reference is None:
            return Workload("Pod", str(pod["metadata"]["name"]))
        uid = str(reference.get("uid"))
        with self._lock:
            if uid in self._known:
                return self._known[uid]
        found = self._follow(str(pod["metadata"]["namespace"]), reference)
        with self._lock:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[uid] = found
        return found

    def _follow(self, namespace: str, reference: Mapping[str, Any]) -> Workload:
        for _ in range(8):  # owners can't be nested without end
            owner = self._read(namespace, reference)
            above = _controller(owner) if owner else None
            if above is None:
                break
            reference = above
        return Workload(str(reference["kind"]), str(reference["name"]))

    def _read(self, namespace: str, reference: Mapping[str, Any]) -> Mapping[str, Any] | None:
        kind = _READABLE.get((str(reference.get("apiVersion")), str(reference.get("kind"))))
        try:
            return self._cluster.get(kind, namespace, str(reference["name"])) if kind else None
        except RejectedError:  # an administrator took the right away
            return None


def _controller(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    references = item["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)
