"""What a bundle saves of a start: the phases that its layers can shorten, cold and warm. Pure.

Nothing else is compared. Weights come from a disk or a network that is faster here than there, a download happens once,
and what no line of the log claims is nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tunecast_core.bundle.layers import BY_NAME
from tunecast_core.records.manifest import Proof, RankProof, Start

Basis = Literal["Phases", "EngineInit", "Verdicts"]
LEAST_SECONDS = 0.5  # less than this is no gain
REQUEST = "request"  # the first one: what it waits for after /health
UNRELATED = ("weights", "download", "wait")  # of no start's speed
UNCLAIMED = "other"


@dataclass(frozen=True, slots=True)
class PhaseSaved:
    """One phase that a bundle can shorten, in seconds."""

    phase: str
    cold: float
    warm: float
    saved: float
    layers: tuple[str, ...]  # of the bundle, which shorten it


@dataclass(frozen=True, slots=True)
class Saved:
    """What one rank's warm start was spared."""

    rank: int
    basis: Basis  # EngineInit: the engine's log says too little of its phases. Verdicts: it says nothing at all
    seconds: float | None = None  # None: nothing could be measured
    of_seconds: float | None = None  # of the cold start, without weights and downloads; with EngineInit, of that line
    phases: tuple[PhaseSaved, ...] = ()

    @property
    def worth_it(self) -> bool:
        """Where nothing could be measured, verdicts on layers decide alone."""
        return self.seconds is None or self.seconds >= LEAST_SECONDS

    @property
    def speedup(self) -> float | None:
        """How much faster a start is, apart from what a bundle has no part in."""
        if self.seconds is None or self.of_seconds is None or self.seconds >= self.of_seconds:
            return None
        return self.of_seconds / (self.of_seconds - self.seconds)


def saved(cold: Start, rank: RankProof) -> Saved:
    """Compares one warm start with the cold one."""
    before, after = _phases(cold), _phases(rank.warm)
    shortened = _shortened(rank)
    phases = tuple(
        PhaseSaved(phase, before[phase], after.get(phase, 0.0), round(before[phase] - after.get(phase, 0.0), 3), layers)
        for phase, layers in shortened.items()
        if before.get(phase)
    )
    if phases and _told(cold) and _told(rank.warm):
        seconds = sum(phase.saved for phase in phases)
        of_seconds = sum(seconds for phase, seconds in before.items() if phase not in UNRELATED)
        return Saved(rank.rank, "Phases", round(seconds, 3), round(of_seconds, 3), phases)
    if cold.init_seconds is not None and rank.warm.init_seconds is not None:
        return Saved(rank.rank, "EngineInit", round(cold.init_seconds - rank.warm.init_seconds, 3), cold.init_seconds)
    return Saved(rank.rank, "Verdicts")


def least(proof: Proof) -> Saved | None:
    """What a replica can count on: the rank that was spared least."""
    found = [saved(proof.cold, rank) for rank in proof.ranks]
    return min(found, key=lambda one: 0.0 if one.seconds is None else one.seconds, default=None)


def effective(proof: Proof) -> bool:
    """Whether a bundle is worth publishing: some layer hit on every rank, and each start was spared something."""
    some_hit = all(any(layer.verdict == "Hit" for layer in rank.layers) for rank in proof.ranks)
    return bool(proof.ranks) and some_hit and all(saved(proof.cold, rank).worth_it for rank in proof.ranks)


def _phases(start: Start) -> dict[str, float]:
    """Seconds by phase, with the first request's wait."""
    first = start.first_token_seconds
    return {**start.phases, **({} if first is None else {REQUEST: round(first - start.total_seconds, 3)})}


def _shortened(rank: RankProof) -> Mapping[str, tuple[str, ...]]:
    """Phases that layers of the bundle shorten, unless they missed altogether."""
    found: dict[str, tuple[str, ...]] = {}
    for layer in rank.layers:
        if layer.verdict != "Miss" and layer.layer in BY_NAME:
            for phase in BY_NAME[layer.layer].shortens:
                found[phase] = (*found.get(phase, ()), layer.layer)
    return found


def _told(start: Start) -> bool:
    """Whether the log claims most of the start; where it doesn't, its lines are another engine's or version's."""
    return start.phases.get(UNCLAIMED, 0.0) <= start.total_seconds / 2
