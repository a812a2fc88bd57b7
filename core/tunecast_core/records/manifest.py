"""What a bundle is: its archives, what they were proved to do, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tunecast_core.hardware import UNKNOWN

Verdict = Literal["Hit", "Partial", "Miss"]
Outputs = Literal["Identical", "WithinNoise", "Different", "Inconclusive"]
LayerState = Literal["Cached", "NotCacheable", "Unsafe"]


@dataclass(frozen=True, slots=True)
class Archive:
    """One layer's files, packed by ``bundle.pack`` and named by the digest of what that wrote."""

    layer: str
    digest: str  # SHA-256 of the compressed bytes, hex
    size: int  # compressed bytes
    unpacked: int  # bytes of all its files together
    files: int


@dataclass(frozen=True, slots=True)
class Start:
    """One engine start, in seconds."""

    total_seconds: float  # from process start to /health
    init_seconds: float | None = None  # the engine's own "init engine" line
    first_token_seconds: float | None = None  # from process start to the answer to the first request, of one token
    phases: dict[str, float] = field(default_factory=dict)  # import, weights, compile, ...; other: nobody's


@dataclass(frozen=True, slots=True)
class LayerProof:
    """What one warm start made of one layer."""

    layer: str
    verdict: Verdict
    files: int  # files that the layer brought
    rebuilt: int  # files that the warm start wrote although the layer has them
    reason: str = ""  # the engine's own words, or which files, when it is no Hit
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tactics:
    """What one rank's replay of FlashInfer's operators found in the autotune file."""

    entries: int  # of the file
    hits: int  # one for each operator, shape and number of tokens
    misses: int
    digest: str  # SHA-256, hex, of which tactic ran what: the same on all ranks
    lacking: tuple[str, ...] = ()  # operators that this GPU or this FlashInfer hasn't, and why
    mismatches: tuple[str, ...] = ()  # why the file doesn't fit this place, so that it was not loaded


@dataclass(frozen=True, slots=True)
class Sweep:
    """What the engine was asked once it was up."""

    kind: str  # such as Completion or Embedding
    route: str
    requests: int
    refused: int  # answered otherwise than with 200: a feature that this engine or model hasn't
    refusal: str = ""  # the first one's status and message


@dataclass(frozen=True, slots=True)
class RankProof:
    """One rank's warm start."""

    rank: int
    warm: Start
    layers: tuple[LayerProof, ...]
    outputs: Outputs
    outputs_reason: str = ""  # why they are Inconclusive
    tactics: Tactics | None = None  # of the Operators workload


@dataclass(frozen=True, slots=True)
class Proof:
    """What the Job measured."""

    mode: Literal["Peer", "SamePod"]  # Peer: the warm start ran on another pod than the one that made the cache
    verdict: Verdict
    outputs: Outputs
    cold: Start
    ranks: tuple[RankProof, ...]
    reason: str = ""
    sweep: Sweep | None = None  # of the cold start; the Operators workload sends none

    @property
    def warm(self) -> Start:
        """The slowest of the warm starts: what a replica can count on."""
        return max((rank.warm for rank in self.ranks), key=lambda start: start.total_seconds)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made the bundle, as the rank saw it: for people, and to find drift."""

    python: str
    versions: dict[str, str] = field(default_factory=dict)  # vllm, torch, flashinfer-python, triton where installed
    gpu: str | None = None
    driver: str | None = None
    model_commit: str | None = None  # of a model from a hub
    image_id: str | None = None  # the engine's image, as rank 0's kubelet named it; the operator adds it
    hardware: str = UNKNOWN  # a name of hardware.py


@dataclass(frozen=True, slots=True)
class LayerNote:
    """Why a layer is in the bundle, or isn't."""

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
    hardware: str = UNKNOWN  # what it was made on: a name of hardware.py
    version: int = 1

    @property
    def size(self) -> int:
        """Compressed bytes of the whole bundle."""
        return sum(archive.size for archive in self.archives)
