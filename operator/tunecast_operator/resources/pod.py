"""The pod that replicas and ranks share: one function, so that a tuning Job has the shape of what it tunes for."""

from __future__ import annotations

from typing import Any

from tunecast_cache import layers
from tunecast_cache.key import MOUNT_PATH
from tunecast_operator.api.inference_deployment import EngineSettings, PodSettings

ENGINE = "engine"
CACHE_VOLUME = "tunecast-cache"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - engines talk through it, and a container's own 64 MiB are too few
SHARED_MEMORY_VOLUME = "tunecast-shm"
GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"


def pod_spec(
    engine: EngineSettings,
    pod: PodSettings,
    resources: dict[str, Any],
    accelerator: str | None,
    *,
    command: list[str],
    extra_environment: dict[str, str],
) -> dict[str, Any]:
    """A pod with the engine's container and a private, empty cache volume at the one mount path."""
    container: dict[str, Any] = {
        "name": ENGINE,
        "image": engine.image,
        "command": command,
        "env": [*engine.env, *_variables({**layers.environment(MOUNT_PATH), **extra_environment})],
        "resources": resources,
        "volumeMounts": [*pod.volume_mounts, {"name": CACHE_VOLUME, "mountPath": MOUNT_PATH}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if engine.security_context:
        container["securityContext"] = engine.security_context
    optional = {
        "nodeSelector": pod.node_selector,
        "tolerations": pod.tolerations,
        "affinity": _affinity(pod.affinity, accelerator),
        "serviceAccountName": pod.service_account_name,
        "imagePullSecrets": pod.image_pull_secrets,
        "priorityClassName": pod.priority_class_name,
        "runtimeClassName": pod.runtime_class_name,
        "schedulerName": pod.scheduler_name,
        "securityContext": pod.security_context,
    }
    volumes = [*pod.volumes, {"name": CACHE_VOLUME, "emptyDir": {}}]
    if all(mount.get("mountPath") != SHARED_MEMORY for mount in pod.volume_mounts):
        container["volumeMounts"].append({"name": SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY})
        volumes.append({"name": SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory"}})
    return {
        "containers": [container],
        "volumes": volumes,
        "enableServiceLinks": False,  # a Service called vllm would set VLLM_PORT
        **{name: value for name, value in optional.items() if value},
    }


def _variables(environment: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(environment.items())]


def _affinity(affinity: dict[str, Any] | None, accelerator: str | None) -> dict[str, Any]:
    """The user's affinity, with the accelerator required in every node selector term."""
    merged: dict[str, Any] = {**(affinity or {})}
    if not accelerator:
        return merged
    product = {"key": GPU_PRODUCT_LABEL, "operator": "In", "values": [accelerator]}
    node = {**merged.get("nodeAffinity", {})}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.get("nodeSelectorTerms") or [{}]
    with_product = [{**term, "matchExpressions": [*term.get("matchExpressions", []), product]} for term in terms]
    node["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": with_product}
    return {**merged, "nodeAffinity": node}
