from __future__ import annotations

import pytest

from tunecast_tuner.outputs import compare, worst


@pytest.mark.parametrize(
    ("cold", "again", "warm", "expected"),
    [
        ("ab", "ab", "ab", "Identical"),
        ("ab", "ax", "ab", "Identical"),
        ("ab", "ax", "yb", "WithinNoise"),
        ("ab", "ab", "ax", "Different"),
        ("ab", "ax", "yz", "Different"),
        ("", "", "", "Inconclusive"),
        ("ab", "ab", "a", "Inconclusive"),
    ],
)
def test_compare(cold: str, again: str, warm: str, expected: str) -> None:
    assert compare(list(cold), list(again), list(warm)) == expected


def test_an_unanswered_prompt_says_nothing() -> None:
    assert compare(["", "b"], ["", "b"], ["", "b"]) == "Inconclusive"


def test_worst() -> None:
    assert worst(["Identical", "Different", "Inconclusive"]) == "Different"
    assert worst(["Identical", "WithinNoise"]) == "WithinNoise"
    assert worst([]) == "Inconclusive"
