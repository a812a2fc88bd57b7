"""Reconciles a namespace's trust ConfigMap after a change: the InferenceDeployments of the namespace restore it."""

from __future__ import annotations

from collections.abc import Callable

from tunecast_operator.runtime.cluster import INFERENCE_DEPLOYMENT, Cluster
from tunecast_operator.runtime.controller import GONE


class TrustReconciler:
    """Calls ``enqueue_deployment`` with each InferenceDeployment of the namespace, and ``enqueue_adopted`` with it."""

    def __init__(
        self,
        cluster: Cluster,
        enqueue_deployment: Callable[[str, str], None],
        enqueue_adopted: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._enqueue_deployment, self._enqueue_adopted = enqueue_deployment, enqueue_adopted

    def reconcile(self, namespace: str, _name: str) -> float:
        """Never resyncs the ConfigMap itself: each InferenceDeployment has a resync of its own."""
        for owner in self._cluster.list(INFERENCE_DEPLOYMENT, namespace):
            self._enqueue_deployment(namespace, owner["metadata"]["name"])
        self._enqueue_adopted(namespace)
        return GONE
