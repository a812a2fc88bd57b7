"""Whether warm outputs are those of the cold start, measured against the engine's own noise. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tunecast_cache.manifest import Outputs

Answers = Sequence[str]  # one spelling per prompt; empty where the engine gave none
_WORST_LAST: tuple[Outputs, ...] = ("Identical", "WithinNoise", "Inconclusive", "Different")


def compare(cold: Answers, cold_again: Answers, warm: Answers) -> Outputs:
    """Warm answers against two rounds of cold ones: as many prompts may differ as did between those."""
    rounds = (cold, cold_again, warm)
    if not cold or any(len(answers) != len(cold) or not all(answers) for answers in rounds):
        return "Inconclusive"
    if differing(cold, warm) == 0:
        return "Identical"
    return "WithinNoise" if differing(cold, warm) <= differing(cold, cold_again) else "Different"


def differing(one: Answers, other: Answers) -> int:
    """The number of prompts that were answered differently."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def worst(outputs: Iterable[Outputs]) -> Outputs:
    """The least good of several ranks' outputs."""
    return max(outputs, key=_WORST_LAST.index, default="Inconclusive")
