"""The containers that Tunecast adds to pods, and what an administrator chose for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunecast_core.store.mesh import MESHES

OWN_UID = 65532  # of the image's user
VOLUME_PREFIX = "tunecast-"  # of every volume that Tunecast adds: a user's volumes can't have it


def _restricted() -> dict[str, Any]:
    """The restricted Pod Security profile without a user: OpenShift assigns one, elsewhere the image names it."""
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
    """The chart's value ``initContainer``, in Kubernetes' own types; its defaults are those of values.yaml."""

    resources: dict[str, Any] = field(default_factory=_resources)
    security_context: dict[str, Any] = field(default_factory=_restricted)
    extra_env: tuple[dict[str, Any], ...] = ()
    extra_env_from: tuple[dict[str, Any], ...] = ()
    extra_volumes: tuple[dict[str, Any], ...] = ()
    extra_volume_mounts: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class InitContainer:
    """Which image runs as an init container of replicas and ranks, and how."""

    image: str
    pull_policy: str = "IfNotPresent"
    settings: ContainerSettings = field(default_factory=ContainerSettings)


def init_container(name: str, init: InitContainer, pod_context: Mapping[str, Any] | None) -> dict[str, Any]:
    """The container without what it does.

    Args:
        name: the container's name.
        init: the image and the administrator's settings.
        pod_context: the pod's security context, from which the container inherits what its own doesn't say.
    """
    return {
        "name": name,
        "image": init.image,
        "imagePullPolicy": init.pull_policy,
        "resources": init.settings.resources,
        "securityContext": _not_root(init.settings.security_context, pod_context or {}),
    }


def _not_root(context: Mapping[str, Any], pod_context: Mapping[str, Any]) -> dict[str, Any]:
    """The kubelet starts no container that must not run as root and inherits root from its pod."""
    root = context.get("runAsNonRoot") and pod_context.get("runAsUser") == 0
    return {**({"runAsUser": OWN_UID} if root else {}), **context}


def told_by_pod(limited: str | None) -> list[dict[str, Any]]:
    """What a replica's init container learns of its pod, also of what admission added to it.

    Ephemeral storage is limited for the whole pod: by the largest of its init containers' limits and the sum of its
    containers'. A limit that is set sets the request too; one that isn't is told as all of the node's.

    Args:
        limited: the engine's container, where it has a limit of its own.
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
    """The administrator's volumes, under names that no volume of a user can have."""
    return [{**volume, "name": _own(volume)} for volume in settings.extra_volumes]


def extra_mounts(settings: ContainerSettings) -> list[dict[str, Any]]:
    """Where the container has them."""
    return [{**mount, "name": _own(mount)} for mount in settings.extra_volume_mounts]


def _own(item: Mapping[str, Any]) -> str:
    return f"{VOLUME_PREFIX}extra-{item.get('name', '')}"
