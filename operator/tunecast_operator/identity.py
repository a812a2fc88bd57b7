"""What decides the key and the names: pure functions of a spec."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from tunecast_cache.key import compute_key
from tunecast_cache.records import canonical
from tunecast_operator.api.command_line import command_line
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec

MANAGED_BY = {"app.kubernetes.io/managed-by": "tunecast"}
DEPLOYMENT_LABEL = "tunecast.io/inference-deployment"  # serving pods and what belongs to them
CACHE_LABEL = "tunecast.io/kernel-cache"  # ranks and what belongs to them
KEY_LABEL = "tunecast.io/key"
ATTEMPT_LABEL = "tunecast.io/attempt"
REVISION_ANNOTATION = "tunecast.io/revision"

# Requests and limits of these never change what an engine compiles; all others (GPUs, MIG slices) do.
_ORDINARY_RESOURCES = {"cpu", "memory", "ephemeral-storage"}


def digest(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def key_of(spec: InferenceDeploymentSpec, version: int) -> str:
    """The key of a spec, as key version ``version`` computes it."""
    return compute_key(key_inputs(spec), version)


def key_inputs(spec: InferenceDeploymentSpec) -> dict[str, Any]:
    """Everything in a spec that decides whether a bundle fits.

    Volumes are in it, since an engine or a model may live there; node placement isn't, the accelerator is.
    """
    limits = spec.resources.get("limits", {})
    return {
        "image": spec.engine.image,
        "command": command_line(spec),
        "environment": sorted(spec.engine.env, key=lambda variable: str(variable.get("name"))),
        "model": spec.model.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "accelerator": spec.accelerator,
        "parallelism": spec.parallelism.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "devices": {name: str(count) for name, count in limits.items() if name not in _ORDINARY_RESOURCES},
        "volumes": spec.pod.volumes,
        "volumeMounts": spec.pod.volume_mounts,
        "runtimeClassName": spec.pod.runtime_class_name,
        "workload": spec.tuning.workload,
        "generation": spec.tuning.generation,
        "excludedLayers": sorted(spec.cache.layers.exclude),
    }


def template_digest(spec: InferenceDeploymentSpec) -> str:
    """Of all that a pod template is rendered from; without defaults, so that a new field changes no digest."""
    value = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"replicas", "tuning"})
    return digest({**value, "workload": spec.tuning.workload, "generation": spec.tuning.generation})


def cache_spec(spec: InferenceDeploymentSpec, key: str, key_version: int) -> dict[str, Any]:
    """The snapshot that a KernelCache is made with."""
    value = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    tuning = value["tuning"]
    pod = {name: field for name, field in value["pod"].items() if name != "labels"}
    snapshot = {
        "key": key,
        "keyVersion": key_version,
        **{name: value[name] for name in ("model", "engine", "parallelism", "resources")},
        "pod": pod,
        **{name: tuning[name] for name in ("workload", "ranks", "generation", "timeout", "queueTimeout", "attempts")},
        "excludeLayers": spec.cache.layers.exclude,
    }
    template = spec.tuning.template.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    optional = {"accelerator": value.get("accelerator"), "sweep": tuning.get("sweep"), "template": template}
    return snapshot | {name: field for name, field in optional.items() if field}


def cache_name(snapshot: dict[str, Any]) -> str:
    """Names a KernelCache after all that shapes its Job: "qwen3-30b-a3b-" and ten hex digits.

    How long and how often it may try shapes nothing, so IDs that differ only there share one.
    """
    pod = {name: field for name, field in snapshot["pod"].items() if name != "annotations"}
    shape = {k: v for k, v in snapshot.items() if k not in {"timeout", "queueTimeout", "attempts"}} | {"pod": pod}
    slug = re.sub(r"[^a-z0-9]+", "-", snapshot["model"]["name"].rsplit("/", 1)[-1].lower()).strip("-")[:24].strip("-")
    slug = slug if slug[:1].isalpha() else f"m-{slug}".rstrip("-")
    return f"{slug}-{digest(shape)[:10]}"
