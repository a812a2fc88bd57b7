"""Compares warm outputs with those of the cold start, relative to the engine's own noise. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunecast_core.records.manifest import Outputs

ROUNDING = 2.0**-8  # relative precision of bfloat16
_WORST_LAST: tuple[Outputs, ...] = ("Identical", "WithinNoise", "Inconclusive", "Different")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of an engine: text or numbers, or neither if the engine gave no answer."""

    text: str = ""
    numbers: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.numbers)


Answers = Sequence[Answer]


def compare(cold: Answers, cold_again: Answers, warm: Answers) -> Outputs:
    """Compares warm answers with two rounds of cold ones.

    Text is within the noise if no more prompts have different answers than between the two cold rounds. Vectors are
    within the noise if they are no farther apart than between the cold rounds or than rounding explains.
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
    """Returns why the answers can't be compared; empty if they can."""
    if not all(rounds) or len({len(answers) for answers in rounds}) > 1:
        return "not every start received the same requests"
    silent = max(sum(not answer for answer in answers) for answers in rounds)
    return f"the engine gave no answer that can be compared to {silent} of {len(rounds[0])} requests" if silent else ""


def differing(one: Answers, other: Answers) -> int:
    """Returns the number of prompts with different answers."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def farthest(one: Answers, other: Answers) -> float:
    """Returns the largest distance between two answers to a prompt, relative to the norm of the first answer."""
    return max((_distance(a.numbers, b.numbers) for a, b in zip(one, other, strict=True)), default=0.0)


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    if len(one) != len(other):
        return math.inf
    apart, length = math.dist(one, other), math.hypot(*one)
    return 0.0 if not apart else apart / length if length else math.inf


def worst(outputs: Iterable[Outputs]) -> Outputs:
    """Returns the worst result of several ranks."""
    return max(outputs, key=_WORST_LAST.index, default="Inconclusive")
