"""Adds to a pod what replicas and ranks have in common: the cache volume, variables and shared memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tunecast_core.bundle import layers
from tunecast_core.key import MOUNT_PATH
from tunecast_operator.engine import Engine

CACHE_VOLUME = "tunecast-cache"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - engines need more than a container's default of 64 MiB
SHARED_MEMORY_VOLUME = "tunecast-shm"
GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
SHARED = re.compile(r"(-MIG-.*)?(-SHARED)?$")  # suffix of GPU feature discovery for a GPU that is split or shared
Object = Mapping[str, Any]


def with_cache(pod: Object, engine: Engine, environment: Mapping[str, str]) -> dict[str, Any]:
    """Returns the pod with an empty cache volume, and with variables that put the engine's caches there.

    Args:
        pod: a pod spec with the engine's container.
        engine: the engine.
        environment: variables that the bundle needs.
    """
    mounts = [{"name": CACHE_VOLUME, "mountPath": MOUNT_PATH}]
    volumes: list[Object] = [{"name": CACHE_VOLUME, "emptyDir": {}}]
    own = engine.container.get("volumeMounts") or ()
    # A pod with hostIPC has the node's /dev/shm.
    if not pod.get("hostIPC") and all(mount.get("mountPath", "").rstrip("/") != SHARED_MEMORY for mount in own):
        mounts.append({"name": SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY})
        volumes.append({"name": SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory"}})
    variables = {**layers.environment(MOUNT_PATH), **environment}
    changed = {"env": _environment(engine.env, variables), "volumeMounts": [*own, *mounts]}
    containers = [{**c, **changed} if c["name"] == engine.name else c for c in pod["containers"]]
    return {
        "enableServiceLinks": False,  # a Service named vllm would set VLLM_PORT; a template may enable it
        **pod,
        "containers": containers,
        "volumes": [*(pod.get("volumes") or ()), *volumes],
    }


def selected_gpu(pod: Object) -> str:
    """Returns the GPU product that the pod selects by node label; empty if it selects none or several."""
    required = ((pod.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms = [term.get("matchExpressions") or () for term in required.get("nodeSelectorTerms") or ()]
    chosen = {value for term in terms for e in term if _selects_gpu(e) for value in e.get("values") or ()}
    product = (pod.get("nodeSelector") or {}).get(GPU_PRODUCT_LABEL)
    found = {product} if product else chosen if all(any(map(_selects_gpu, term)) for term in terms) else set()
    return SHARED.sub("", found.pop()) if len(found) == 1 else ""


def _selects_gpu(expression: Object) -> bool:
    return bool(expression["key"] == GPU_PRODUCT_LABEL and expression["operator"] == "In")


def _environment(env: Sequence[Object], variables: Mapping[str, str]) -> list[Object]:
    """Returns ``variables``, then those of the container in their order, without the reserved ones."""
    ours = layers.RESERVED_VARIABLES | variables.keys()
    kept = [variable for variable in env if variable["name"] not in ours]
    return [*({"name": name, "value": value} for name, value in sorted(variables.items())), *kept]
