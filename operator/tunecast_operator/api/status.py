"""Status of both kinds. Plans read and write these models, and the CRDs' schemas are generated from them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from tunecast_core.records.manifest import Verdict
from tunecast_operator.api.model import StatusModel
from tunecast_operator.api.proof_status import ProofStatus

log = logging.getLogger(__name__)


class State(StrEnum):
    """Phase of a StartupCache."""

    PENDING = "Pending"
    TUNING = "Tuning"
    PUBLISHING = "Publishing"
    READY = "Ready"
    INEFFECTIVE = "Ineffective"
    FAILED = "Failed"
    QUARANTINED = "Quarantined"


class ReplicaStart(StrEnum):
    """Start that a new replica gets."""

    HIT = "Hit"
    TUNING = "Tuning"
    COLD = "Cold"
    FAILED = "Failed"


class DriftProperty(StrEnum):
    """Property of a replica that may differ from its bundle's, the most important first."""

    IMAGE = "Image"
    GPU = "GPU"
    DRIVER = "Driver"


def time(description: str) -> str | None:
    """Returns a date-time field."""
    found: str | None = Field(default=None, description=description, json_schema_extra={"format": "date-time"})
    return found


class ConditionStatus(StatusModel):
    type: str = Field(
        max_length=316,
        description="Type of the condition: Ready, CacheReady, Reconciling, Stalled, Drifted or BundleMissing.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Status of the condition: True, False or Unknown.")
    reason: str = Field(
        max_length=1024,
        description="Machine-readable reason of the last transition: one CamelCase word that does not change between "
        "releases.",
    )
    message: str = Field(
        default="", max_length=32768, description="Human-readable description of what happened and what to do."
    )
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that the condition was computed from."
    )
    last_transition_time: str = Field(
        description="Time when the status of the condition last changed.", json_schema_extra={"format": "date-time"}
    )


class CommonStatus(StatusModel):
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status describes."
    )
    conditions: list[ConditionStatus] = Field(
        default_factory=list, description="Latest observations. The types are Ready, CacheReady, Reconciling, "
        "Stalled, Drifted and BundleMissing.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )  # fmt: skip

    @property
    def written(self) -> bool:
        """Whether a reconciler has written this status."""
        return bool(self.model_fields_set)

    def condition(self, kind: str) -> ConditionStatus | None:
        """Returns the condition of this type, or None."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def reason(self, kind: str) -> str:
        """Returns the reason of the condition of this type; empty where there is none."""
        found = self.condition(kind)
        return found.reason if found else ""


class Rendered(StatusModel):
    key: str | None = Field(default=None, description="Key of the bundle that the serving pods use.")
    key_version: int | None = Field(default=None, description="Version of the rules by which that key was computed.")
    init_image: str | None = Field(default=None, description="Image of the init container in the serving pods.")
    spec_digest: str | None = Field(
        default=None, description="Digest of the spec that the serving pods were rendered from."
    )
    environment: dict[str, str] | None = Field(
        default=None,
        description="Variables that the bundle needs and that the engine of the serving pods got, by name.",
    )


class ReasonCount(StatusModel):
    reason: str = Field(
        description="Reason that init containers reported: one CamelCase word that does not change between releases."
    )
    count: int = Field(description="Number of serving pods whose init container reported this reason.")


class InitReports(StatusModel):
    counts: list[ReasonCount] = Field(
        default_factory=list, description="Number of serving pods for each reason that their init containers reported."
    )
    last_message: str | None = Field(
        default=None, description="Message of one of the init containers whose replica started cold."
    )
    unknown_hardware: int | None = Field(
        default=None,
        description="Number of serving pods whose init container could not identify the hardware of its node. Their "
        "bundle may have been made on another GPU. It is absent if there is no such pod.",
    )


class DriftStatus(StatusModel):
    what: DriftProperty = Field(description="Property that differs: Image, GPU or Driver.")
    expected: str = Field(description="Value that the bundle was made with.")
    found: str = Field(description="Value that the replicas run with.")
    replicas: int = Field(description="Number of replicas with this value.")


class CacheReference(StatusModel):
    name: str = Field(description="Name of the StartupCache.")
    hardware: str | None = Field(
        default=None, description="Hardware that the bundle is for. It is absent until the bundle is published."
    )
    state: str = Field(description="State of the StartupCache, such as Tuning or Ready.")


class InferenceDeploymentStatus(CommonStatus):
    """Observed state of the InferenceDeployment."""

    replicas: int | None = Field(default=None, description="Number of serving pods.")
    ready_replicas: int | None = Field(default=None, description="Number of serving pods that are ready.")
    desired_replicas: int | None = Field(
        default=None, description="Number of serving pods that the spec or an autoscaler asks for."
    )
    selector: str | None = Field(
        default=None,
        description="Label selector of the serving pods, as text. The scale subresource shows it to autoscalers.",
    )
    cache: ReplicaStart | None = Field(
        default=None,
        description="Start that a new replica gets now: Hit from a bundle, Cold without one, Tuning while a bundle is "
        "being made, or Failed when tuning has failed.",
    )
    key: str | None = Field(
        default=None,
        description="Key of the current spec: a digest of everything that decides whether a bundle fits its pods.",
    )
    model: str | None = Field(default=None, description="Model that the engine serves, as its command line names it.")
    notes: list[str] | None = Field(
        default=None,
        description="Notes for the author of the pod template: what Tunecast changes or ignores in the template, such "
        "as a variable that is replaced.",
    )
    startup_caches: list[CacheReference] | None = Field(
        default=None,
        description="StartupCaches of the key, which hold its bundles or make them. The first one is for the hardware "
        "that the scheduler chose for its ranks. Each other one is for hardware that replicas started cold on, up to "
        "spec.tuning.hardwareLimit.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    cold: str | None = Field(
        default=None, description="Duration of a cold start as the tuning Job measured it, such as 60.0s."
    )
    warm: str | None = Field(
        default=None, description="Duration of a warm start as the tuning Job measured it, such as 20.0s."
    )
    rendered: Rendered | None = Field(default=None, description="Inputs that the serving pods were rendered from.")
    drift: list[DriftStatus] | None = Field(
        default=None,
        description="Replicas whose image, GPU or driver differs from what their bundle was made with, counted by "
        "property and value. A difference starts no rollout.",
    )
    init_reports: InitReports | None = Field(
        default=None, description="Results reported by the init containers of serving pods, counted by reason."
    )

    @property
    def cache_names(self) -> list[str]:
        """Names of the StartupCaches that the InferenceDeployment refers to."""
        return [cache.name for cache in self.startup_caches or ()]


class ProgressStatus(StatusModel):
    stage: str = Field(description="Stage that rank 0 is in, such as ColdStart or WarmStart.")
    seconds: int = Field(description="Seconds since the stage began.")
    bytes: int | None = Field(default=None, description="Size of the bundle in bytes, once rank 0 knows it.")


class LayerNoteStatus(StatusModel):
    layer: str = Field(description="Name of the layer, such as TorchCompile.")
    state: Literal["Cached", "NotCacheable", "Unsafe"] = Field(
        description="State of the layer. Cached means that the bundle has it, NotCacheable that it can't be kept, "
        "Unsafe that keeping it would be wrong or would publish a secret."
    )
    reason: str | None = Field(default=None, description="Reason why the bundle does not have the layer.")


class FailureStatus(StatusModel):
    reason: str = Field(description="Reason of the failure: one CamelCase word that does not change between releases.")
    message: str = Field(description="Human-readable description of what happened and what to do.")
    rank: int | None = Field(default=None, description="Number of the rank that failed first.")
    attempt: int = Field(description="Number of the attempt, counted from 1.")


class MadeWith(StatusModel):
    image: str | None = Field(default=None, description="Image of the engine, as the pod template names it.")
    image_id: str | None = Field(
        default=None, alias="imageID", description="Image of the engine by digest, as the node of rank 0 reports it."
    )
    gpu: str | None = Field(default=None, description="Product name of rank 0's GPU.")
    driver: str | None = Field(default=None, description="Version of the GPU's driver on rank 0's node.")
    model_commit: str | None = Field(
        default=None, description="Commit of the model, where the engine fetched it from a hub."
    )
    python: str | None = Field(default=None, description="Version of the engine's Python.")
    versions: dict[str, str] = Field(
        default_factory=dict, description="Versions of vLLM, torch, FlashInfer and Triton, by name of the distribution."
    )


class WorkloadStatus(StatusModel):
    kind: str = Field(description="Kind of the topmost owner of the pods, such as Deployment or LeaderWorkerSet.")
    name: str = Field(description="Name of the topmost owner.")
    pods: int = Field(description="Number of its pods that have this key.")
    hits: int = Field(default=0, description="Number of these pods that started from a bundle.")
    cold: int = Field(default=0, description="Number of these pods that started without a bundle.")
    not_injected: int = Field(
        default=0,
        description="Number of these pods that were created without the init container, such as while the webhook "
        "was away. They start cold.",
    )


class StartupCacheStatus(CommonStatus):
    """Observed state of the StartupCache: its progress, and the proof of its bundle."""

    state: State | None = Field(
        default=None,
        description="Current phase of the StartupCache: Pending, Tuning, Publishing, Ready, Ineffective, Failed or "
        "Quarantined.",
    )
    attempt: int | None = Field(
        default=None, description="Number of the newest attempt, counted from 1. Each attempt is one Job."
    )
    failures: int | None = Field(
        default=None, description="Number of attempts that failed and are counted against spec.attempts."
    )
    disruptions: int | None = Field(
        default=None, description="Number of attempts that were disrupted. They aren't counted against spec.attempts."
    )
    requeues: int | None = Field(
        default=None,
        description="Number of attempts that were requeued, since not all of their ranks ran in time. They count as "
        "neither failures nor disruptions.",
    )
    job: str | None = Field(default=None, description="Name of the Job of the current attempt.")
    queued_since: str | None = time(
        "Time when tuning was queued. Before a rank has run, spec.queueTimeout is counted from it."
    )
    queue_position: int | None = Field(
        default=None,
        description="Position in the queue of StartupCaches that wait until fewer than tuning.maxConcurrent tunings "
        "run, counted from 1. It is absent while the StartupCache doesn't wait for others.",
    )
    started_at: str | None = time("Time when a rank first ran.")
    finished_at: str | None = time("Time when tuning ended, with or without a bundle.")
    next_attempt_at: str | None = time("Time when the next attempt begins.")
    settings_renew_at: str | None = time(
        "Time when the upload URLs of the ranks are renewed: after a third of their life, which ends with the "
        "credentials that sign them."
    )
    unwanted_since: str | None = time(
        "Time when the last reference from an InferenceDeployment was removed. The StartupCache is deleted a day later."
    )
    referred_by: list[str] = Field(
        default_factory=list, description="Names of the InferenceDeployments that refer to the StartupCache."
    )
    used_by: list[WorkloadStatus] | None = Field(
        default=None,
        max_length=64,
        description="Workloads of other owners whose pods have the label tunecast.io/inject and this key. They keep "
        "the StartupCache as InferenceDeployments do.",
    )
    users: str | None = Field(
        default=None,
        description="InferenceDeployments and workloads that use the StartupCache, in short, such as Deployment vllm "
        "and 2 others.",
    )
    unused_since: str | None = time(
        "Time since when no such pod is there any more. Tuning goes on for ten minutes, since a rollout may bring "
        "them back."
    )
    progress: ProgressStatus | None = Field(
        default=None, description="Progress of the current attempt, as rank 0 reports it."
    )
    manifest: str | None = Field(
        default=None, description="Digest of the published manifest, which describes the bundle and is signed."
    )
    signer: str | None = Field(default=None, description="Name of the key that signed the manifest.")
    size: str | None = Field(default=None, description="Size of the published bundle, such as 35.1 MiB.")
    size_bytes: int | None = Field(
        default=None, description="Size of the published bundle in bytes.", json_schema_extra={"format": "int64"}
    )
    cold: str | None = Field(default=None, description="Duration of rank 0's cold start, such as 60.0s.")
    warm: str | None = Field(default=None, description="Duration of the slowest warm start of a rank, such as 20.0s.")
    speedup: str | None = Field(
        default=None,
        description="Factor by which a start is faster with the bundle, without weights and downloads, such as 3.0x.",
    )
    verdict: Verdict | None = Field(
        default=None, description="Verdict of the proof over all layers and ranks: Hit, Partial or Miss."
    )
    outputs: str | None = Field(
        default=None,
        description="Comparison of outputs over all ranks: Identical, WithinNoise, Different or Inconclusive. It is "
        "advisory.",
    )
    environment: dict[str, str] = Field(
        default_factory=dict,
        description="Variables that an engine needs to use the bundle, by name. Replicas get them.",
    )
    hardware: str | None = Field(
        default=None,
        description="Hardware that the bundle was made on. Replicas on other hardware do not install it. For a GPU, "
        "the name has the product and the CPU architecture; for a CPU, the architecture and a digest of the "
        "instruction sets. For a GPU of another vendor than NVIDIA, it is unknown.",
    )
    made_with: MadeWith | None = Field(default=None, description="Software and hardware that the bundle was made with.")
    proof: ProofStatus | None = Field(default=None, description="Measurements of the tuning Job that prove the bundle.")
    notes: list[LayerNoteStatus] | None = Field(
        default=None, description="One note for each layer: whether the bundle has it, and if not, why."
    )
    last_failure: FailureStatus | None = Field(default=None, description="Failure of the last failed attempt.")

    def __or__(self, changes: StartupCacheStatus) -> StartupCacheStatus:
        """Returns a copy with the fields that ``changes`` sets; None removes a field."""
        return self.model_copy(update={name: getattr(changes, name) for name in changes.model_fields_set})


S = TypeVar("S", bound=CommonStatus)


def read_status(kind: type[S], item: Mapping[str, Any]) -> S:
    """Reads the status of an object as the API server returned it.

    A field that another version wrote in a form that this version can't read is left out, with a warning.
    """
    found = item.get("status") or {}
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        unreadable = {str(one["loc"][0]) for one in error.errors()}
        metadata = item["metadata"]
        log.warning(
            "%s %s/%s: this version can't read these fields of its status and ignores them: %s",
            item.get("kind"), metadata.get("namespace"), metadata["name"], ", ".join(sorted(unreadable)),
        )  # fmt: skip
        return kind.model_validate({name: value for name, value in found.items() if name not in unreadable})


def status_object(status: CommonStatus) -> dict[str, Any]:
    """Returns the status as a JSON object for the API server."""
    return status.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
