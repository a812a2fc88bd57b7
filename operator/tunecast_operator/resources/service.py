"""Builds the two Services: one for clients, and one by which ranks find each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecast_operator.identity import CACHE_LABEL, MANAGED_BY
from tunecast_operator.resources.owner import owner_reference
from tunecast_operator.resources.replica import selector


def serving_service(
    owner: dict[str, Any], container: Mapping[str, Any], port: int, *, tls: bool = False
) -> dict[str, Any]:
    """Returns the Service for clients, with the engine's port.

    If the container names that port, targetPort is the name, so that a rollout can change the number. The name of the
    Service's port never changes, since others refer to it. Gateways and meshes read ``appProtocol``.
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
    """Returns a headless Service that publishes addresses before readiness, so that rank 0 is found while it starts."""
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
