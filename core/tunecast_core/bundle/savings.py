"""Computes the time that a bundle saves, from the phases of a start that its layers can shorten. Pure.

Other phases aren't compared: weights depend on the node's disk and network, a download happens only once, and time
that no log line explains can't be attributed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tunecast_core.bundle.layers import BY_NAME
from tunecast_core.records.manifest import Proof, RankProof, Start

Basis = Literal["Phases", "EngineInit", "Verdicts"]
LEAST_SECONDS = 0.5  # savings below this don't count
REQUEST = "request"  # phase from the first answer of /health to the answer to the first request
UNRELATED = ("weights", "download", "wait")  # phases that no bundle affects
UNCLAIMED = "other"


@dataclass(frozen=True, slots=True)
class PhaseSaved:
    """One phase that a bundle can shorten, in seconds."""

    phase: str
    cold: float
    warm: float
    saved: float
    layers: tuple[str, ...]  # layers of the bundle that shorten the phase


@dataclass(frozen=True, slots=True)
class Saved:
    """The time that one rank's warm start saved."""

    rank: int
    basis: Basis  # EngineInit: the log explains too few phases. Verdicts: the log has no durations at all
    seconds: float | None = None  # None: nothing could be measured
    of_seconds: float | None = None  # the cold start without UNRELATED phases, or its "init engine" line (EngineInit)
    phases: tuple[PhaseSaved, ...] = ()

    @property
    def worth_it(self) -> bool:
        """Whether the start saved enough. If nothing could be measured, only the verdicts on layers decide."""
        return self.seconds is None or self.seconds >= LEAST_SECONDS

    @property
    def speedup(self) -> float | None:
        """Ratio of the cold to the warm start, without phases that no bundle affects; None if it can't be computed."""
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
    if phases and _is_explained(cold) and _is_explained(rank.warm):
        seconds = sum(phase.saved for phase in phases)
        of_seconds = sum(seconds for phase, seconds in before.items() if phase not in UNRELATED)
        return Saved(rank.rank, "Phases", round(seconds, 3), round(of_seconds, 3), phases)
    if cold.init_seconds is not None and rank.warm.init_seconds is not None:
        return Saved(rank.rank, "EngineInit", round(cold.init_seconds - rank.warm.init_seconds, 3), cold.init_seconds)
    return Saved(rank.rank, "Verdicts")


def least(proof: Proof) -> Saved | None:
    """Returns the savings of the rank that saved least, which every replica can expect; None without ranks."""
    found = [saved(proof.cold, rank) for rank in proof.ranks]
    return min(found, key=lambda one: 0.0 if one.seconds is None else one.seconds, default=None)


def effective(proof: Proof) -> bool:
    """Whether a bundle is worth publishing: on every rank, some layer hit and the start was faster."""
    some_hit = all(any(layer.verdict == "Hit" for layer in rank.layers) for rank in proof.ranks)
    return bool(proof.ranks) and some_hit and all(saved(proof.cold, rank).worth_it for rank in proof.ranks)


def _phases(start: Start) -> dict[str, float]:
    """Returns the seconds of each phase, including the first request."""
    first = start.first_token_seconds
    return {**start.phases, **({} if first is None else {REQUEST: round(first - start.total_seconds, 3)})}


def _shortened(rank: RankProof) -> Mapping[str, tuple[str, ...]]:
    """Returns the phases that layers of the bundle shorten. Layers with the verdict Miss don't count."""
    found: dict[str, tuple[str, ...]] = {}
    for layer in rank.layers:
        if layer.verdict != "Miss" and layer.layer in BY_NAME:
            for phase in BY_NAME[layer.layer].shortens:
                found[phase] = (*found.get(phase, ()), layer.layer)
    return found


def _is_explained(start: Start) -> bool:
    """Whether the log explains most of the start. Otherwise it is of an unknown engine or version."""
    return start.phases.get(UNCLAIMED, 0.0) <= start.total_seconds / 2
