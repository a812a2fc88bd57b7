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
    type: str = Field(max_length=316, description="What it is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(max_length=1024, description="Why, in one stable word.")
    message: str = Field(default="", max_length=32768, description="Why, in words.")
    observed_generation: int | None = Field(default=None, description="The spec it was judged by.")
    last_transition_time: str = Field(
        description="When its status changed last.", json_schema_extra={"format": "date-time"}
    )


class CommonStatus(Model):
    observed_generation: int | None = Field(default=None, description="The spec that this status is about.")
    conditions: list[ConditionStatus] = Field(
        default_factory=list, description="Ready and its like.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )  # fmt: skip


class Rendered(Model):
    key: str | None = Field(default=None, description="The key that the serving pods were made for.")
    key_version: int | None = Field(default=None, description="Which meaning of the key.")
    init_image: str | None = Field(default=None, description="Their init container's image.")
    spec_digest: str | None = Field(default=None, description="Digest of the spec they were rendered from.")
    environment: dict[str, str] | None = Field(default=None, description="Variables that their bundle asked for.")


class ReasonCount(Model):
    reason: str = Field(description="A reason, in one stable word.")
    count: int = Field(description="Serving pods that gave it.")


class InitReports(Model):
    counts: list[ReasonCount] = Field(
        default_factory=list, description="Serving pods by what their init container said."
    )
    last_message: str | None = Field(default=None, description="Why one of them started cold.")


class DriftStatus(Model):
    what: Literal["Image", "GPU", "Driver"] = Field(description="What differs.")
    expected: str = Field(description="What the bundle was made with.")
    found: str = Field(description="What replicas run.")
    replicas: int = Field(description="How many of them.")


class InferenceDeploymentStatus(CommonStatus):
    """What is."""

    replicas: int | None = Field(default=None, description="Serving pods.")
    ready_replicas: int | None = Field(default=None, description="Those that are ready.")
    desired_replicas: int | None = Field(default=None, description="Serving pods that are asked for.")
    selector: str | None = Field(default=None, description="Of serving pods, for the scale subresource.")
    cache: Literal["Hit", "Tuning", "Cold", "Failed"] | None = Field(
        default=None, description="How replicas start now."
    )
    key: str | None = Field(default=None, description="The key of this spec.")
    model: str | None = Field(default=None, description="Model that the engine serves, as its command line names it.")
    notes: list[str] = Field(
        default_factory=list,
        description="What Tunecast changes in the pod template or ignores of it, such as a variable that it replaces.",
    )
    startup_cache: str | None = Field(default=None, description="The StartupCache of that key.")
    cold: str | None = Field(default=None, description="Seconds of a cold start, as the tuning Job measured it.")
    warm: str | None = Field(default=None, description="Seconds of a warm start, likewise.")
    rendered: Rendered | None = Field(default=None, description="What the serving pods were rendered with.")
    drift: list[DriftStatus] = Field(
        default_factory=list, description="Replicas that run something else than their bundle was made with."
    )
    init_reports: InitReports | None = Field(default=None, description="What their init containers said.")


class StartStatus(Model):
    total_seconds: float | None = Field(default=None, description="From process start to /health.")
    init_seconds: float | None = Field(default=None, description='The engine\'s own "init engine" line.')
    first_token_seconds: float | None = Field(
        default=None, description="From process start to the answer to the first request, of one token."
    )
    phases: dict[str, float] = Field(
        default_factory=dict,
        description="Seconds by phase, as the engine's log tells them. What no line claims is other. They add up to "
        "totalSeconds.",
    )


class LayerProofStatus(Model):
    layer: str = Field(description="Which layer.")
    verdict: Literal["Hit", "Partial", "Miss"] = Field(description="What the warm start made of it.")
    files: int = Field(description="Files that the layer brought.")
    made_again: int = Field(description="Files that the warm start wrote all the same.")
    reason: str | None = Field(default=None, description="Why it is no Hit.")
    examples: list[str] = Field(default_factory=list, description="Some of those files.")


class TacticsStatus(Model):
    entries: int = Field(description="Entries of the autotune file.")
    hits: int = Field(description="Look-ups that found one: one for each operator, shape and number of tokens.")
    misses: int = Field(description="Look-ups that found none.")
    digest: str = Field(description="Of which tactic ran what: the same on all ranks.")
    lacking: list[str] = Field(
        default_factory=list, description="Operators that this GPU or this FlashInfer hasn't, and why."
    )
    mismatches: list[str] = Field(
        default_factory=list, description="Why the file doesn't fit this place, so that it was not loaded."
    )


class SweepStatus(Model):
    kind: str = Field(description="How the engine was asked, such as Completion, Chat, Embedding or Score.")
    route: str = Field(description="HTTP path that the requests went to.")
    requests: int = Field(description="Number of requests that were sent.")
    refused: int = Field(
        description="Number of requests that were answered otherwise than with 200. They ask for features that this "
        "engine or model does not have."
    )
    refusal: str | None = Field(default=None, description="HTTP status and message of the first refused request.")


class RankProofStatus(Model):
    rank: int = Field(description="Which rank.")
    outputs: str = Field(description="Whether its outputs agree with rank 0's.")
    outputs_reason: str | None = Field(default=None, description="Why the outputs are Inconclusive.")
    warm: StartStatus = Field(description="Its warm start.")
    layers: list[LayerProofStatus] = Field(default_factory=list, description="What it made of each layer.")
    tactics: TacticsStatus | None = Field(
        default=None, description="What its replay of FlashInfer's operators found; of the Operators workload."
    )


class PhaseSavedStatus(Model):
    phase: str = Field(description="Phase of the start, such as compile or jit. request: the first request's wait.")
    cold: float = Field(description="Seconds of the cold start.")
    warm: float = Field(description="Seconds of the warm start.")
    saved: float = Field(description="Seconds that the warm start was spared.")
    layers: list[str] = Field(default_factory=list, description="Layers of the bundle that shorten this phase.")


class SavedStatus(Model):
    rank: int = Field(description="The rank that was spared least.")
    basis: Literal["Phases", "EngineInit", "Verdicts"] = Field(
        description="What was compared. Phases: those that the bundle can shorten. EngineInit: the engine's own line, "
        "where its log does not tell the phases. Verdicts: only the layers' verdicts, where it tells no times."
    )
    seconds: float | None = Field(
        default=None, description="Seconds that the warm start was spared. Weights and downloads are not compared."
    )
    of_seconds: float | None = Field(
        default=None, description="Seconds of the cold start that were compared with, without weights and downloads."
    )
    phases: list[PhaseSavedStatus] = Field(default_factory=list, description="Where they were saved.")


class ProofStatus(Model):
    mode: str = Field(description="Peer: made on another pod than the cache. SamePod: with one rank.")
    verdict: str = Field(description="Hit, Partial or Miss, over all layers and ranks.")
    outputs: str = Field(description="Whether outputs agree. Advisory: a bundle is published whatever it says.")
    reason: str | None = Field(default=None, description="Why the verdict is no Hit.")
    sweep: SweepStatus | None = Field(
        default=None, description="Requests that the cold engine was sent before its caches were captured."
    )
    saved: SavedStatus | None = Field(
        default=None, description="What the bundle saved. A bundle that saves nothing is Ineffective."
    )
    cold: StartStatus = Field(description="Rank 0's start on an empty cache.")
    ranks: list[RankProofStatus] = Field(default_factory=list, description="The warm starts.")


class Progress(Model):
    stage: str = Field(description="What rank 0 does.")
    seconds: int = Field(description="Since it began.")
    bytes: int | None = Field(default=None, description="Of the bundle.")


class LayerNoteStatus(Model):
    layer: str = Field(description="Which layer.")
    state: Literal["Cached", "NotCacheable", "Unsafe"] = Field(description="Whether it is in the bundle.")
    reason: str | None = Field(default=None, description="Why it isn't.")


class Failure(Model):
    reason: str = Field(description="Why, in one stable word.")
    message: str = Field(description="Why, in words.")
    rank: int | None = Field(default=None, description="The rank that failed first.")
    attempt: int = Field(description="Which attempt.")


class MadeWith(Model):
    image: str | None = Field(default=None, description="The engine's image, as the spec names it.")
    image_id: str | None = Field(
        default=None, alias="imageID", description="The same by digest, as rank 0's node names it."
    )
    gpu: str | None = Field(default=None, description="Rank 0's GPU.")
    driver: str | None = Field(default=None, description="Its driver.")
    model_commit: str | None = Field(default=None, description="The model's commit, where it came from a hub.")
    python: str | None = Field(default=None, description="The engine's Python.")
    versions: dict[str, str] = Field(default_factory=dict, description="Of vLLM, torch, FlashInfer and Triton.")


class StartupCacheStatus(CommonStatus):
    """How far it is, and what was proved."""

    state: Literal["Pending", "Tuning", "Publishing", "Ready", "Ineffective", "Failed", "Quarantined"] | None = Field(
        default=None, description="In one word."
    )
    attempt: int | None = Field(default=None, description="The newest attempt.")
    failures: int | None = Field(default=None, description="Attempts that failed and count.")
    disruptions: int | None = Field(default=None, description="Attempts that were disrupted, which don't count.")
    requeues: int | None = Field(
        default=None,
        description="Attempts that were queued again, since not all of their ranks ran in time. They count as neither "
        "failures nor disruptions.",
    )
    job: str | None = Field(default=None, description="The Job of the attempt under way.")
    queued_since: str | None = time("When it was first wanted.")
    started_at: str | None = time("When ranks first ran.")
    finished_at: str | None = time("When it was decided.")
    next_attempt_at: str | None = time("When the next attempt begins.")
    settings_renew_at: str | None = time(
        "When the ranks' upload URLs are renewed: after a third of their life, which ends with their credentials."
    )
    unwanted_since: str | None = time("Since when no InferenceDeployment refers to it.")
    referred_by: list[str] = Field(default_factory=list, description="InferenceDeployments that want it.")
    progress: Progress | None = Field(default=None, description="Of the attempt under way.")
    manifest: str | None = Field(default=None, description="Digest of the published manifest.")
    signer: str | None = Field(default=None, description="Who signed it.")
    size: str | None = Field(default=None, description="Of the bundle.")
    size_bytes: int | None = Field(default=None, description="Of the bundle.", json_schema_extra={"format": "int64"})
    cold: str | None = Field(default=None, description="Seconds of rank 0's cold start.")
    warm: str | None = Field(default=None, description="Seconds of the slowest warm start.")
    speedup: str | None = Field(
        default=None,
        description="How many times faster a start is with the bundle, without weights and downloads, such as 3.0x.",
    )
    verdict: Literal["Hit", "Partial", "Miss"] | None = Field(default=None, description="Over all layers and ranks.")
    outputs: str | None = Field(default=None, description="Whether greedy outputs agree: advisory.")
    environment: dict[str, str] = Field(default_factory=dict, description="Variables that the bundle needs.")
    made_with: MadeWith | None = Field(default=None, description="What the bundle was made with.")
    proof: ProofStatus | None = Field(default=None, description="What was measured.")
    notes: list[LayerNoteStatus] = Field(default_factory=list, description="Why a layer is in the bundle, or isn't.")
    last_failure: Failure | None = Field(default=None, description="How the last failed attempt ended.")
