"""Whether warm outputs are those of the cold start, measured against the engine's own noise. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunecast_core.records.manifest import Outputs

ROUNDING = 2.0**-8  # relative: what bfloat16 can't tell apart
_WORST_LAST: tuple[Outputs, ...] = ("Identical", "WithinNoise", "Inconclusive", "Different")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine answered: text of some spelling, or numbers; neither, where it gave none."""

    text: str = ""
    numbers: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.numbers)


Answers = Sequence[Answer]


def compare(cold: Answers, cold_again: Answers, warm: Answers) -> Outputs:
    """Warm answers against two rounds of cold ones.

    Of text, as many prompts may be answered differently as were between the cold rounds. Of numbers, vectors may be as
    far apart as between those, or as rounding makes them.
    """
    rounds = (cold, cold_again, warm)
    if unanswered(*rounds):
        return "Inconclusive"
    if differing(cold, warm) == 0:
        return "Identical"
    if all(answer.numbers for answers in rounds for answer in answers):
        return "WithinNoise" if farthest(cold, warm) <= max(farthest(cold, cold_again), ROUNDING) else "Different"
    return "WithinNoise" if differing(cold, warm) <= differing(cold, cold_again) else "Different"


def unanswered(*rounds: Answers) -> str:
    """Why nothing can be compared; empty where it can."""
    if not all(rounds) or len({len(answers) for answers in rounds}) > 1:
        return "not every start was asked the same"
    silent = max(sum(not answer for answer in answers) for answers in rounds)
    return f"the engine gave no answer that can be compared to {silent} of {len(rounds[0])} requests" if silent else ""


def differing(one: Answers, other: Answers) -> int:
    """The number of prompts that were answered differently."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def farthest(one: Answers, other: Answers) -> float:
    """The largest distance between two answers to one prompt, relative to the first one's length."""
    return max((_distance(a.numbers, b.numbers) for a, b in zip(one, other, strict=True)), default=0.0)


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    if len(one) != len(other):
        return math.inf
    apart, length = math.dist(one, other), math.hypot(*one)
    return 0.0 if not apart else apart / length if length else math.inf


def worst(outputs: Iterable[Outputs]) -> Outputs:
    """The least good of several ranks' outputs."""
    return max(outputs, key=_WORST_LAST.index, default="Inconclusive")
