"""What replicas and ranks get alike: the cache's volume, the variables that place layers, shared memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tunecast_core.bundle import layers
from tunecast_core.key import MOUNT_PATH
from tunecast_operator.engine import Engine

CACHE_VOLUME = "tunecast-cache"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - engines talk through it, and a container's own 64 MiB are too few
SHARED_MEMORY_VOLUME = "tunecast-shm"
GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
SHARED = re.compile(r"(-MIG-.*)?(-SHARED)?$")  # added by GPU feature discovery to a GPU that is split or shared
Object = Mapping[str, Any]


def with_cache(pod: Object, engine: Engine, environment: Mapping[str, str]) -> dict[str, Any]:
    """The pod with a private, empty cache volume at the one mount path, and the engine's caches placed there.

    Args:
        pod: a pod spec with the engine's container.
        engine: which container that is.
        environment: variables that a proof asked for.
    """
    mounts = [{"name": CACHE_VOLUME, "mountPath": MOUNT_PATH}]
    volumes: list[Object] = [{"name": CACHE_VOLUME, "emptyDir": {}}]
    own = engine.container.get("volumeMounts") or ()
    # Host IPC brings the node's /dev/shm.
    if not pod.get("hostIPC") and all(mount.get("mountPath", "").rstrip("/") != SHARED_MEMORY for mount in own):
        mounts.append({"name": SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY})
        volumes.append({"name": SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory"}})
    placed = {**layers.environment(MOUNT_PATH), **environment}
    changed = {"env": _environment(engine.env, placed), "volumeMounts": [*own, *mounts]}
    containers = [{**c, **changed} if c["name"] == engine.name else c for c in pod["containers"]]
    return {
        "enableServiceLinks": False,  # a Service called vllm would set VLLM_PORT; a template may ask for it
        **pod,
        "containers": containers,
        "volumes": [*(pod.get("volumes") or ()), *volumes],
    }


def selected_gpu(pod: Object) -> str:
    """The GPU product that the pod selects by its nodes' labels; empty where it names none, or several."""
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


def _environment(env: Sequence[Object], placed: Mapping[str, str]) -> list[Object]:
    """The container's own variables in their order, but for those that place layers, of which none stays."""
    ours = layers.RESERVED_VARIABLES | placed.keys()
    kept = [variable for variable in env if variable["name"] not in ours]
    return [*({"name": name, "value": value} for name, value in sorted(placed.items())), *kept]
