"""Builds the init containers that Tunecast adds to pods, with the administrator's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunecast_core.store.mesh import MESHES
from tunecast_operator.api.pod_template import ORDINARY_RESOURCES

OWN_UID = 65532  # the user of Tunecast's image
VOLUME_PREFIX = "tunecast-"  # of every volume that Tunecast adds; users' volumes can't have it


def _restricted() -> dict[str, Any]:
    """Returns a context for the restricted Pod Security standard. OpenShift or the image chooses the user."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _resources() -> dict[str, Any]:
    return {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """The chart's value ``initContainer`` in Kubernetes' own types. The defaults are those of values.yaml."""

    resources: dict[str, Any] = field(default_factory=_resources)
    security_context: dict[str, Any] = field(default_factory=_restricted)
    extra_env: tuple[dict[str, Any], ...] = ()
    extra_env_from: tuple[dict[str, Any], ...] = ()
    extra_volumes: tuple[dict[str, Any], ...] = ()
    extra_volume_mounts: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class InitContainer:
    """Image and settings of the init containers of replicas and ranks."""

    image: str
    pull_policy: str = "IfNotPresent"
    settings: ContainerSettings = field(default_factory=ContainerSettings)


def init_container(name: str, init: InitContainer, engine: Mapping[str, Any], pod: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an init container without arguments, variables and mounts.

    Args:
        name: the container's name.
        init: the image and the administrator's settings.
        engine: the engine's container.
        pod: the pod's spec, with a security context that the container inherits, and requests and limits of the pod.
    """
    return {
        "name": name,
        "image": init.image,
        "imagePullPolicy": init.pull_policy,
        "resources": _resources_like(engine, pod, init.settings.resources),
        "securityContext": _not_root(init.settings.security_context, pod.get("securityContext") or {}),
    }


def _resources_like(engine: Mapping[str, Any], pod: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the engine's requests and limits where it or the pod has any, and otherwise the administrator's.

    Init containers run before the others, so the requests of the whole pod don't grow. Its quality of service stays the
    same, and it still fits its quotas and limit ranges. The API server refuses a container that exceeds its pod.
    """
    engines = {kind: (engine.get("resources") or {}).get(kind) or {} for kind in ("requests", "limits")}
    pods = (pod.get("resources") or {}).values()
    asked = {name for values in (*engines.values(), *pods) for name in values or () if name in ORDINARY_RESOURCES}
    merged = {
        kind: {
            **{name: value for name, value in (own.get(kind) or {}).items() if name not in asked},
            **{name: value for name, value in values.items() if name in asked},
        }
        for kind, values in engines.items()
    }
    return {kind: values for kind, values in merged.items() if values}


def _not_root(context: Mapping[str, Any], pod_context: Mapping[str, Any]) -> dict[str, Any]:
    """Sets a user if the container would inherit root, which the kubelet refuses together with runAsNonRoot."""
    root = context.get("runAsNonRoot") and pod_context.get("runAsUser") == 0
    return {**({"runAsUser": OWN_UID} if root else {}), **context}


def downward_variables(limited: str | None) -> list[dict[str, Any]]:
    """Returns variables by which an init container reads its pod, including what admission added to the pod.

    Ephemeral storage is limited for the whole pod: by the largest limit of its init containers and the sum of the
    limits of its containers. A limit also sets the request. Without a limit, the kubelet reports the node's storage.

    Args:
        limited: the engine's container, if it has a limit of its own.
    """
    marks = [(mesh.variable, {"fieldRef": {"fieldPath": f"metadata.annotations['{mesh.mark}']"}}) for mesh in MESHES]
    fields = [
        ("TUNECAST_STORAGE_LIMIT", {"resource": "limits.ephemeral-storage"}),
        ("TUNECAST_STORAGE_REQUEST", {"resource": "requests.ephemeral-storage"}),
    ]
    if limited:
        limit = {"containerName": limited, "resource": "limits.ephemeral-storage"}
        fields.append(("TUNECAST_ENGINE_STORAGE_LIMIT", limit))
    storage = [(name, {"resourceFieldRef": field}) for name, field in fields]
    return [{"name": name, "valueFrom": source} for name, source in (*marks, *storage)]


def extra_volumes(settings: ContainerSettings) -> list[dict[str, Any]]:
    """Returns the administrator's volumes under names that no volume of a user can have."""
    return [{**volume, "name": _own(volume)} for volume in settings.extra_volumes]


def extra_mounts(settings: ContainerSettings) -> list[dict[str, Any]]:
    """Returns the mounts of the administrator's volumes."""
    return [{**mount, "name": _own(mount)} for mount in settings.extra_volume_mounts]


def _own(item: Mapping[str, Any]) -> str:
    return f"{VOLUME_PREFIX}extra-{item.get('name', '')}"
