"""Records the look-ups of FlashInfer's autotuner while operators run: hits, misses, and tactics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, SupportsIndex


@dataclass
class Found:
    """Look-ups of one replay. Repeated look-ups of the same operator and shapes count once."""

    hits: set[str] = field(default_factory=set)
    misses: set[str] = field(default_factory=set)
    tactics: dict[str, Any] = field(default_factory=dict)


@contextmanager
def recording(tuner: Any) -> Iterator[Found]:
    """Wraps ``AutoTuner.search_cache`` to record look-ups, because FlashInfer counts no hits."""
    found, search = Found(), tuner.search_cache

    def watched(custom_op: str, runners: Sequence[Any], input_shapes: Any, *rest: Any, **named: Any) -> Any:
        answer = search(custom_op, runners, input_shapes, *rest, **named)
        hit, runner, tactic = answer[:3]
        name = f"{custom_op} {[list(shape) for shape in input_shapes]}"
        (found.hits if hit else found.misses).add(name)
        found.tactics[name] = [type(runners[runner]).__name__, plain(tactic)]
        return answer

    tuner.search_cache = watched
    try:
        yield found
    finally:
        del tuner.search_cache


def plain(tactic: Any) -> Any:
    """Converts a tactic to JSON types. Other objects become their type's name, which is the same on all ranks."""
    if isinstance(tactic, (str, bool, int, float)) or tactic is None:
        return tactic
    if isinstance(tactic, SupportsIndex):  # numpy's integers, and torch's
        return int(tactic)
    return [plain(part) for part in tactic] if isinstance(tactic, Iterable) else type(tactic).__name__
