"""The two Services: one for clients, one for ranks to find each other."""

from __future__ import annotations

from typing import Any

from tunecast_operator.identity import CACHE_LABEL, MANAGED_BY
from tunecast_operator.resources.deployment import owner_reference, selector


def serving_service(owner: dict[str, Any], port: int, tls: bool = False) -> dict[str, Any]:
    """The engine's own port, in front of the ready replicas; while a rollout changes it, each pod's own is meant.

    The port's name stays the same, since others refer to it; gateways and meshes go by ``appProtocol``.
    """
    metadata = owner["metadata"]
    protocol = "https" if tls else None
    ports = [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP", "appProtocol": protocol}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**MANAGED_BY, **selector(metadata["name"])},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {"selector": selector(metadata["name"]), "ports": ports},
    }


def ranks_service(owner: dict[str, Any]) -> dict[str, Any]:
    """Headless, and with addresses before readiness: rank 0 is resolved while it starts."""
    metadata = owner["metadata"]
    labels = {CACHE_LABEL: metadata["name"]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**MANAGED_BY, **labels},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": labels},
    }
