"""Status of both kinds. The reconcilers write it as plain objects; the CRDs' schema is made of this."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunecast_operator.api.model import Model


def time(description: str) -> str | None:
    """A date-time field."""
    found: str | None = Field(default=None, description=description, json_schema_extra={"format": "date-time"})
    return found


class ConditionStatus(Model):
    type: str = Field(
        max_length=316, description="Type of the condition: Ready, CacheReady, Reconciling, Stalled or Drifted."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Status of the condition: True, False or Unknown.")
    reason: str = Field(
        max_length=1024,
        description="Machine-readable reason of the last transition, in one word that does not change between "
        "releases.",
    )
    message: str = Field(
        default="", max_length=32768, description="Message for people that says what happened and what to do."
    )
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that the condition was judged by."
    )
    last_transition_time: str = Field(
        description="Time when the status of the condition changed last.", json_schema_extra={"format": "date-time"}
    )


class CommonStatus(Model):
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: list[ConditionStatus] = Field(
        default_factory=list, description="Latest observations, one for each type: Ready, CacheReady, Reconciling, "
        "Stalled and Drifted.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )  # fmt: skip


class Rendered(Model):
    key: str | None = Field(default=None, description="Key that the serving pods were rendered for.")
    key_version: int | None = Field(default=None, description="Version of the rules by which that key was computed.")
    init_image: str | None = Field(default=None, description="Image of the init container in the serving pods.")
    spec_digest: str | None = Field(
        default=None, description="Digest of the spec that the serving pods were rendered from."
    )
    environment: dict[str, str] | None = Field(
        default=None,
        description="Variables that the engine of the serving pods got because the bundle needs them, by name.",
    )


class ReasonCount(Model):
    reason: str = Field(
        description="Reason that init containers reported, in one word that does not change between releases."
    )
    count: int = Field(description="Number of serving pods whose init container reported this reason.")


class InitReports(Model):
    counts: list[ReasonCount] = Field(
        default_factory=list, description="Number of serving pods for each reason that their init containers reported."
    )
    last_message: str | None = Field(
        default=None, description="Message of one of the init containers whose replica started cold."
    )


class DriftStatus(Model):
    what: Literal["Image", "GPU", "Driver"] = Field(description="Fact that differs: Image, GPU or Driver.")
    expected: str = Field(description="Value of the fact where the bundle was made.")
    found: str = Field(description="Value of the fact where the replicas run.")
    replicas: int = Field(description="Number of replicas with this value.")


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
    cache: Literal["Hit", "Tuning", "Cold", "Failed"] | None = Field(
        default=None,
        description="Way in which a new replica starts now: Hit from a bundle, Cold without one, Tuning while one is "
        "made, Failed where none could be made.",
    )
    key: str | None = Field(
        default=None,
        description="Key of the current spec: a digest of everything that decides whether a bundle fits its pods.",
    )
    model: str | None = Field(default=None, description="Model that the engine serves, as its command line names it.")
    notes: list[str] = Field(
        default_factory=list,
        description="Notes for the author of the pod template: what Tunecast changes in it or ignores of it, such as "
        "a variable that is replaced.",
    )
    startup_cache: str | None = Field(
        default=None, description="Name of the StartupCache that holds the bundle of the key or makes it."
    )
    cold: str | None = Field(
        default=None, description="Duration of a cold start as the tuning Job measured it, such as 60.0s."
    )
    warm: str | None = Field(
        default=None, description="Duration of a warm start as the tuning Job measured it, such as 20.0s."
    )
    rendered: Rendered | None = Field(default=None, description="Inputs that the serving pods were rendered from.")
    drift: list[DriftStatus] = Field(
        default_factory=list,
        description="Replicas that run on or with something else than their bundle was made with, counted by fact "
        "and value. Nothing rolls out because of it.",
    )
    init_reports: InitReports | None = Field(
        default=None, description="Results reported by the init containers of serving pods, counted by reason."
    )


class StartStatus(Model):
    total_seconds: float | None = Field(
        default=None, description="Seconds from the start of the process to the first answer of /health."
    )
    init_seconds: float | None = Field(
        default=None, description='Seconds that the log line "init engine" of the engine names.'
    )
    first_token_seconds: float | None = Field(
        default=None,
        description="Seconds from the start of the process to the answer to the first request, which asks for one "
        "token.",
    )
    phases: dict[str, float] = Field(
        default_factory=dict,
        description="Seconds of each phase, as the engine's log tells them. Time that no line of the log explains is "
        "the phase other. The phases add up to totalSeconds.",
    )


class LayerProofStatus(Model):
    layer: str = Field(description="Name of the layer, such as TorchCompile.")
    verdict: Literal["Hit", "Partial", "Miss"] = Field(
        description="Verdict on the layer: Hit if the warm start used all of it, Partial if it used a part, Miss if "
        "it used nothing."
    )
    files: int = Field(description="Number of files that the layer has.")
    made_again: int = Field(
        description="Number of files of the layer that the warm start built again although the bundle has them."
    )
    reason: str | None = Field(default=None, description="Reason why the verdict is not Hit.")
    examples: list[str] = Field(
        default_factory=list, description="Paths of some of the files that the warm start built again."
    )


class TacticsStatus(Model):
    entries: int = Field(description="Number of entries in the autotune file.")
    hits: int = Field(
        description="Number of look-ups that found an entry. There is one look-up for each operator, shape and number "
        "of tokens."
    )
    misses: int = Field(description="Number of look-ups that found no entry.")
    digest: str = Field(description="Digest of which tactic ran each operator. It must be the same on all ranks.")
    lacking: list[str] = Field(
        default_factory=list,
        description="Operators that this GPU or this version of FlashInfer can't run, each with the reason.",
    )
    mismatches: list[str] = Field(
        default_factory=list,
        description="Reasons why the autotune file does not fit the rank's GPU or software, so that it was not loaded.",
    )


class SweepStatus(Model):
    kind: str = Field(description="Kind of the requests, such as Completion, Chat, Embedding or Score.")
    route: str = Field(description="HTTP path that the requests went to.")
    requests: int = Field(description="Number of requests that were sent.")
    refused: int = Field(
        description="Number of requests that were not answered with status 200. They ask for features that this "
        "engine or model does not have."
    )
    refusal: str | None = Field(default=None, description="HTTP status and message of the first refused request.")


class RankProofStatus(Model):
    rank: int = Field(description="Number of the rank, counted from 0.")
    outputs: str = Field(
        description="Comparison of the rank's outputs with those of rank 0: Identical, WithinNoise, Different or "
        "Inconclusive."
    )
    outputs_reason: str | None = Field(default=None, description="Reason why the outputs are Inconclusive.")
    warm: StartStatus = Field(description="Measurements of the rank's warm start.")
    layers: list[LayerProofStatus] = Field(
        default_factory=list, description="Verdict of the rank's warm start on each layer."
    )
    tactics: TacticsStatus | None = Field(
        default=None,
        description="Result of running FlashInfer's operators from the autotune file. Only the workload Operators "
        "has it.",
    )


class PhaseSavedStatus(Model):
    phase: str = Field(
        description="Phase of the start, such as compile or jit. The phase request is the time that the first request "
        "waits."
    )
    cold: float = Field(description="Seconds of the phase in the cold start.")
    warm: float = Field(description="Seconds of the phase in the warm start.")
    saved: float = Field(description="Seconds of the phase that the warm start saved.")
    layers: list[str] = Field(default_factory=list, description="Layers of the bundle that shorten this phase.")


class SavedStatus(Model):
    rank: int = Field(description="Number of the rank whose warm start saved least.")
    basis: Literal["Phases", "EngineInit", "Verdicts"] = Field(
        description="Basis of the comparison. With Phases, the phases that the bundle can shorten were compared. With "
        "EngineInit, the engine's own log line was compared, since its log does not tell the phases. With Verdicts, "
        "the verdicts of the layers decided, since the log tells no times."
    )
    seconds: float | None = Field(
        default=None, description="Seconds that the warm start saved. Weights and downloads are not compared."
    )
    of_seconds: float | None = Field(
        default=None,
        description="Seconds of the cold start that the warm start was compared with, without weights and downloads.",
    )
    phases: list[PhaseSavedStatus] = Field(default_factory=list, description="Seconds saved, by phase of the start.")


class ProofStatus(Model):
    mode: str = Field(
        description="Mode of the proof. With Peer, another pod than the one that made the cache proved it. With "
        "SamePod, the same pod did, since there is one rank."
    )
    verdict: str = Field(description="Verdict over all layers and ranks: Hit, Partial or Miss.")
    outputs: str = Field(
        description="Comparison of outputs over all ranks: Identical, WithinNoise, Different or Inconclusive. It is "
        "advisory: a bundle is published whatever it says."
    )
    reason: str | None = Field(default=None, description="Reason why the verdict is not Hit.")
    sweep: SweepStatus | None = Field(
        default=None, description="Requests that were sent to the cold engine before its caches were captured."
    )
    saved: SavedStatus | None = Field(
        default=None, description="Time that the bundle saved. A bundle that saves nothing is Ineffective."
    )
    cold: StartStatus = Field(description="Measurements of rank 0's start with an empty cache.")
    ranks: list[RankProofStatus] = Field(default_factory=list, description="Proofs of the ranks that started warm.")


class Progress(Model):
    stage: str = Field(description="Stage that rank 0 is in, such as ColdStart or WarmStart.")
    seconds: int = Field(description="Seconds since the stage began.")
    bytes: int | None = Field(default=None, description="Size of the bundle in bytes, once rank 0 knows it.")


class LayerNoteStatus(Model):
    layer: str = Field(description="Name of the layer, such as TorchCompile.")
    state: Literal["Cached", "NotCacheable", "Unsafe"] = Field(
        description="State of the layer. Cached means that the bundle has it, NotCacheable that it can't be kept, "
        "Unsafe that keeping it would be wrong or would publish a secret."
    )
    reason: str | None = Field(default=None, description="Reason why the bundle does not have the layer.")


class Failure(Model):
    reason: str = Field(description="Reason of the failure, in one word that does not change between releases.")
    message: str = Field(description="Message for people that says what happened and what to do.")
    rank: int | None = Field(default=None, description="Number of the rank that failed first.")
    attempt: int = Field(description="Number of the attempt, counted from 1.")


class MadeWith(Model):
    image: str | None = Field(default=None, description="Image of the engine, as the pod template names it.")
    image_id: str | None = Field(
        default=None, alias="imageID", description="Image of the engine by digest, as the node of rank 0 names it."
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


class StartupCacheStatus(CommonStatus):
    """Observed state of the StartupCache: its progress, and the proof of its bundle."""

    state: Literal["Pending", "Tuning", "Publishing", "Ready", "Ineffective", "Failed", "Quarantined"] | None = Field(
        default=None,
        description="Current phase of the cache: Pending, Tuning, Publishing, Ready, Ineffective, Failed or "
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
        description="Number of attempts that were queued again, since not all of their ranks ran in time. They count "
        "as neither failures nor disruptions.",
    )
    job: str | None = Field(default=None, description="Name of the Job of the current attempt.")
    queued_since: str | None = time("Time when the cache was first asked for.")
    started_at: str | None = time("Time when a rank first ran.")
    finished_at: str | None = time("Time when tuning ended, with or without a bundle.")
    next_attempt_at: str | None = time("Time when the next attempt begins.")
    settings_renew_at: str | None = time(
        "Time when the upload URLs of the ranks are renewed: after a third of their life, which ends with the "
        "credentials that sign them."
    )
    unwanted_since: str | None = time(
        "Time since when no InferenceDeployment refers to the StartupCache. It is deleted a day later."
    )
    referred_by: list[str] = Field(
        default_factory=list, description="Names of the InferenceDeployments that refer to the StartupCache."
    )
    progress: Progress | None = Field(
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
    verdict: Literal["Hit", "Partial", "Miss"] | None = Field(
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
    made_with: MadeWith | None = Field(default=None, description="Software and hardware that the bundle was made with.")
    proof: ProofStatus | None = Field(default=None, description="Measurements of the tuning Job that prove the bundle.")
    notes: list[LayerNoteStatus] = Field(
        default_factory=list, description="Notes on layers: whether the bundle has the layer, and why not."
    )
    last_failure: Failure | None = Field(default=None, description="End of the last failed attempt.")
