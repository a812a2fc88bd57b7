"""Proof of a bundle, as the status of a StartupCache shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunecast_core.records.manifest import Verdict
from tunecast_operator.api.model import StatusModel


class StartStatus(StatusModel):
    total_seconds: float | None = Field(
        default=None, description="Seconds from the start of the process to the first answer of /health."
    )
    init_seconds: float | None = Field(
        default=None, description='Seconds that the engine reports in its log line "init engine".'
    )
    first_token_seconds: float | None = Field(
        default=None,
        description="Seconds from the start of the process to the answer to the first request, which asks for one "
        "token.",
    )
    phases: dict[str, float] = Field(
        default_factory=dict,
        description="Seconds of each phase, taken from the engine's log. Time that no log line explains belongs to the "
        "phase other. The phases add up to totalSeconds.",
    )


class LayerProofStatus(StatusModel):
    layer: str = Field(description="Name of the layer, such as TorchCompile.")
    verdict: Verdict = Field(
        description="Verdict on the layer: Hit if the warm start used all of it, Partial if it used a part, Miss if "
        "it used nothing."
    )
    files: int = Field(description="Number of files that the layer has.")
    rebuilt: int = Field(
        description="Number of files of the layer that the warm start rebuilt although the bundle has them."
    )
    reason: str | None = Field(default=None, description="Reason why the verdict is not Hit.")
    examples: list[str] = Field(
        default_factory=list, description="Paths of some of the files that the warm start rebuilt."
    )


class TacticsStatus(StatusModel):
    entries: int = Field(description="Number of entries in the autotune file.")
    hits: int = Field(
        description="Number of look-ups that found an entry. There is one look-up for each FlashInfer operator, "
        "shape and number of tokens."
    )
    misses: int = Field(description="Number of look-ups that found no entry.")
    digest: str = Field(
        description="Digest of the tactics that ran the FlashInfer operators. It must be the same on all ranks."
    )
    lacking: list[str] = Field(
        default_factory=list,
        description="FlashInfer operators that this GPU or this version of FlashInfer can't run, each with the reason.",
    )
    mismatches: list[str] = Field(
        default_factory=list,
        description="Reasons why the autotune file does not fit the rank's GPU or software, so that it was not loaded.",
    )


class SweepStatus(StatusModel):
    kind: str = Field(description="Kind of the requests, such as Completion, Chat, Embedding or Score.")
    route: str = Field(description="HTTP path that the requests went to.")
    requests: int = Field(description="Number of requests that were sent.")
    refused: int = Field(
        description="Number of requests that were not answered with status 200. They ask for features that this "
        "engine or model does not have."
    )
    refusal: str | None = Field(default=None, description="HTTP status and message of the first refused request.")


class RankProofStatus(StatusModel):
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
        description="Result of running FlashInfer operators with the autotune file. Only the workload Operators "
        "has it.",
    )


class PhaseSavedStatus(StatusModel):
    phase: str = Field(
        description="Phase of the start, such as compile or jit. The phase request is the time that the first request "
        "waits."
    )
    cold: float = Field(description="Seconds of the phase in the cold start.")
    warm: float = Field(description="Seconds of the phase in the warm start.")
    saved: float = Field(description="Seconds of the phase that the warm start saved.")
    layers: list[str] = Field(default_factory=list, description="Layers of the bundle that shorten this phase.")


class SavedStatus(StatusModel):
    rank: int = Field(description="Number of the rank whose warm start saved least.")
    basis: Literal["Phases", "EngineInit", "Verdicts"] = Field(
        description="Basis of the comparison. With Phases, the phases that the bundle can shorten were compared. With "
        "EngineInit, the engine's own log line was compared, since its log does not report the phases. With Verdicts, "
        "the verdicts of the layers decided, since the log reports no times."
    )
    seconds: float | None = Field(
        default=None, description="Seconds that the warm start saved. Weights and downloads are not compared."
    )
    of_seconds: float | None = Field(
        default=None,
        description="Seconds of the cold start that the warm start was compared with, without weights and downloads.",
    )
    phases: list[PhaseSavedStatus] = Field(default_factory=list, description="Seconds saved, by phase of the start.")


class ProofStatus(StatusModel):
    mode: str = Field(
        description="Mode of the proof. With Peer, another pod than the one that made the bundle proved it. With "
        "SamePod, the same pod proved it, since there is only one rank."
    )
    verdict: str = Field(description="Verdict over all layers and ranks: Hit, Partial or Miss.")
    outputs: str = Field(
        description="Comparison of outputs over all ranks: Identical, WithinNoise, Different or Inconclusive. It is "
        "advisory: it does not decide whether the bundle is published."
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
