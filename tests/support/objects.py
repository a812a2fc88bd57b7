"""Builders of small, complete objects, which tests change as they need."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from tunecast_core.records.codec import canonical
from tunecast_core.records.manifest import Archive, LayerProof, Manifest, Proof, Provenance, RankProof, Start
from tunecast_core.records.report import InitReport
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.engine import Engine, engine_of
from tunecast_operator.identity import CONTAINER_ANNOTATION, key_of
from tunecast_operator.snapshot import cache_spec

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)


ENGINE = "engine"  # the container's name
MODEL = "Qwen/Qwen3-8B"


def pod_template(
    *args: str,
    model: str = MODEL,
    metadata: dict[str, Any] | None = None,
    pod: dict[str, Any] | None = None,
    **engine: Any,
) -> dict[str, Any]:
    """Returns a pod template whose engine serves ``model``; ``pod`` and ``engine`` are fields of pod and container."""
    container = {"name": ENGINE, "image": "vllm:v1", "command": ["vllm", "serve", model], "args": list(args), **engine}
    return {**({"metadata": metadata} if metadata else {}), "spec": {"containers": [container], **(pod or {})}}


def inference_deployment(**spec: Any) -> dict[str, Any]:
    """Returns an InferenceDeployment as the API server stores it."""
    return {
        "apiVersion": "tunecast.io/v1alpha2",
        "kind": "InferenceDeployment",
        "metadata": {"name": "qwen3", "namespace": "models", "uid": "id-uid", "generation": 1, "resourceVersion": "7"},
        "spec": {"template": pod_template(), **spec},
    }


def spec_of(owner: dict[str, Any]) -> InferenceDeploymentSpec:
    return InferenceDeploymentSpec.model_validate(owner["spec"])


def engine_in(owner: dict[str, Any]) -> Engine:
    spec = spec_of(owner)
    return engine_of(spec.template, spec.engine)


def key_in(owner: dict[str, Any]) -> str:
    return key_of(spec_of(owner), engine_in(owner), 1)


def snapshot_of(owner: dict[str, Any]) -> dict[str, Any]:
    """Returns the spec of the StartupCache of an InferenceDeployment."""
    return cache_spec(spec_of(owner), engine_in(owner), key_in(owner), 1)


def proof(cold: float = 60.0, warm: float = 20.0, verdict: Any = "Hit", reason: str = "") -> Proof:
    """Returns a proof of starts of these seconds, four fifths of which are compilation."""
    layer = LayerProof("TorchCompile", verdict, 64, 0 if verdict == "Hit" else 64, reason)
    starts = [
        Start(total, init, phases={"weights": total * 0.1, "compile": total * 0.8, "other": total * 0.1})
        for total, init in ((cold, 23.0), (warm, 4.5))
    ]
    rank = RankProof(1, starts[1], (layer,), "Identical")
    return Proof("Peer", verdict, "Identical", starts[0], (rank,))


def manifest(key: str, **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "namespace": "models",
        "key": key,
        "key_version": 1,
        "attempt_id": "kc-uid-1",
        "engine_image": "vllm:v1",
        "created": "2026-11-23T11:00:00Z",
        "archives": (Archive("TorchCompile", "a" * 64, 2**20, 2**22, 64),),
        "environment": {},
        "notes": (),
        "proof": proof(),
        "provenance": Provenance("3.12.3"),
    }
    return Manifest(**{**values, **changes})


def serving_pod(
    name: str, manifest: str, engine: dict[str, Any], *, cold: str = "NoManifest", ready_until: str = ""
) -> dict[str, Any]:
    """Returns a serving pod whose init container reported Hit, or Cold for the reason ``cold``.

    ``engine`` is the status of the engine's container; ``ready_until`` is when the pod ceased to be ready, if it was.
    """
    hit = cold == "NoManifest" and bool(manifest)
    result: Any = "Hit" if hit else "Cold"
    report = InitReport(result, "Installed" if hit else cold, "", "key", manifest=manifest)
    installed = {"exitCode": 0, "message": canonical(report).decode(), "finishedAt": "2026-01-01T10:00:00Z"}
    container = {"restartCount": 0, "ready": False, "image": "x", "imageID": ""}
    moved = ready_until or "2026-01-01T09:59:58Z"  # the kubelet sets both before the init containers run
    conditions = [
        {"type": kind, "status": "False", "lastTransitionTime": moved} for kind in ("Ready", "ContainersReady")
    ]
    return {
        "metadata": {
            "name": name,
            "namespace": "models",
            "uid": f"uid-{name}",
            "annotations": {CONTAINER_ANNOTATION: ENGINE},
        },
        "status": {
            "conditions": conditions,
            "initContainerStatuses": [{**container, "name": "tunecast-init", "state": {"terminated": installed}}],
            "containerStatuses": [{**container, "name": "engine", "state": {}, **engine}],
        },
    }
