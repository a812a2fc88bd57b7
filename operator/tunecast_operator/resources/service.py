"""The two Services: one for clients, one for ranks to find each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecast_operator.identity import CACHE_LABEL, MANAGED_BY
from tunecast_operator.resources.owner import owner_reference
from tunecast_operator.resources.replica import selector


def serving_service(
    owner: dict[str, Any], container: Mapping[str, Any], port: int, *, tls: bool = False
) -> dict[str, Any]:
    """The engine's own port, in front of the ready replicas.

    Where the container names that port, the Service does too: while a rollout changes it, each pod's own is meant.
    The Service's own name of it stays the same, since others refer to it; gateways and meshes go by ``appProtocol``.
    """
    metadata = owner["metadata"]
    named = [p["name"] for p in container.get("ports") or () if p.get("containerPort") == port and p.get("name")]
    target, protocol = named[0] if named else port, "https" if tls else None
    ports = [{"name": "http", "port": port, "targetPort": target, "protocol": "TCP", "appProtocol": protocol}]
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
