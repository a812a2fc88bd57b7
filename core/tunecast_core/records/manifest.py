"""The manifest, which describes a bundle: its archives, its proof, and its provenance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tunecast_core.hardware import UNKNOWN

Verdict = Literal["Hit", "Partial", "Miss"]
Outputs = Literal["Identical", "WithinNoise", "Different", "Inconclusive"]
LayerState = Literal["Cached", "NotCacheable", "Unsafe"]


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive of one layer's files, which ``bundle.pack`` wrote. Its name in the store is its digest."""

    layer: str
    digest: str  # SHA-256 of the compressed bytes, hex
    size: int  # compressed bytes
    unpacked: int  # total bytes of its files
    files: int


@dataclass(frozen=True, slots=True)
class Start:
    """Durations of one engine start, in seconds."""

    total_seconds: float  # from the process's start to the first answer of /health
    init_seconds: float | None = None  # duration in the engine's log line "init engine"
    first_token_seconds: float | None = None  # from the process's start to the answer to a request of one token
    phases: dict[str, float] = field(default_factory=dict)  # import, weights, compile, ...; other: unexplained time


@dataclass(frozen=True, slots=True)
class LayerProof:
    """Proof of one layer by one warm start."""

    layer: str
    verdict: Verdict
    files: int  # number of the layer's files in the bundle
    rebuilt: int  # number of files that the warm start wrote although the layer has them
    reason: str = ""  # why the verdict is no Hit: a line of the engine's log, or the rebuilt files
    examples: tuple[str, ...] = ()  # paths of some of the rebuilt files


@dataclass(frozen=True, slots=True)
class Tactics:
    """Result of one rank's replay of FlashInfer's operators from the autotune file."""

    entries: int  # number of entries in the file
    hits: int  # look-ups that found an entry; there is one for each operator, shape and number of tokens
    misses: int  # look-ups that found no entry
    digest: str  # SHA-256, hex, of the tactic that ran each operator: the same on all ranks
    lacking: tuple[str, ...] = ()  # operators that this GPU or this FlashInfer can't run, each with the reason
    mismatches: tuple[str, ...] = ()  # why the file doesn't fit the rank's GPU or software, so that it was not loaded


@dataclass(frozen=True, slots=True)
class Sweep:
    """The requests that were sent to the engine once it was healthy."""

    kind: str  # such as Completion or Embedding
    route: str  # HTTP path
    requests: int
    refused: int  # requests without status 200, for features that this engine or model doesn't have
    refusal: str = ""  # status and message of the first refused request


@dataclass(frozen=True, slots=True)
class RankProof:
    """Proof of the bundle by one rank's warm start."""

    rank: int
    warm: Start
    layers: tuple[LayerProof, ...]
    outputs: Outputs
    outputs_reason: str = ""  # why the outputs are Inconclusive
    tactics: Tactics | None = None  # only with the Operators workload


@dataclass(frozen=True, slots=True)
class Proof:
    """Measurements of one attempt."""

    mode: Literal["Peer", "SamePod"]  # Peer: the warm starts ran in other pods than the cold start
    verdict: Verdict
    outputs: Outputs
    cold: Start
    ranks: tuple[RankProof, ...]
    reason: str = ""
    sweep: Sweep | None = None  # of the cold start; the Operators workload sends none

    @property
    def warm(self) -> Start:
        """The slowest warm start, which every replica can expect."""
        return max((rank.warm for rank in self.ranks), key=lambda start: start.total_seconds)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Software and hardware that made the bundle, as rank 0 found them. They inform people and reveal drift."""

    python: str
    versions: dict[str, str] = field(default_factory=dict)  # installed ones of vllm, torch, flashinfer-python, triton
    gpu: str | None = None
    driver: str | None = None
    model_commit: str | None = None  # only for a model from a hub
    image_id: str | None = None  # ID of the engine's image from the status of rank 0's pod; the operator adds it
    hardware: str = UNKNOWN  # a name of hardware.py


@dataclass(frozen=True, slots=True)
class LayerNote:
    """Reason why a layer is in the bundle, or why it isn't."""

    layer: str
    state: LayerState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The signed description of a bundle."""

    namespace: str
    key: str
    key_version: int
    attempt_id: str  # ID of the attempt that made the bundle: "<StartupCache uid>-<attempt>"
    engine_image: str
    created: str  # RFC 3339, UTC
    archives: tuple[Archive, ...]
    environment: dict[str, str]  # variables that its layers need, such as PYTHONPYCACHEPREFIX
    notes: tuple[LayerNote, ...]
    proof: Proof
    provenance: Provenance
    hardware: str = UNKNOWN  # hardware that the bundle was made on: a name of hardware.py
    version: int = 1

    @property
    def size(self) -> int:
        """Compressed bytes of the whole bundle."""
        return sum(archive.size for archive in self.archives)
