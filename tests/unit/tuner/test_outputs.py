from __future__ import annotations

import pytest

from tunecast_tuner.proof.outputs import Answer, compare, unanswered, worst


def texts(*answers: str) -> list[Answer]:
    return [Answer(answer) for answer in answers]


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
    assert compare(texts(*cold), texts(*again), texts(*warm)) == expected


def test_an_unanswered_prompt_is_not_compared() -> None:
    rounds = [texts("", "b")] * 3
    assert compare(*rounds) == "Inconclusive"
    assert unanswered(*rounds) == "the engine gave no answer that can be compared to 1 of 2 requests"
    assert unanswered(*[texts("a")] * 3) == ""
    assert unanswered(texts("a"), texts("a"), texts("a", "b")) == "not every start received the same requests"


@pytest.mark.parametrize(
    ("cold", "again", "warm", "expected"),
    [
        ((1.0, 0.0), (1.0, 0.0), (1.0, 0.0), "Identical"),
        ((1.0, 0.0), (1.0, 0.1), (1.0, 0.0), "Identical"),
        ((1.0, 0.0), (1.0, 0.0), (1.0, 0.003), "WithinNoise"),  # bfloat16 rounds so
        ((100.0, 0.0), (100.0, 0.0), (100.0, 0.3), "WithinNoise"),
        ((1.0, 0.0), (1.0, 0.1), (1.0, -0.09), "WithinNoise"),
        ((1.0, 0.0), (1.0, 0.0), (1.0, 0.1), "Different"),
        ((1.0, 0.0), (1.0, 0.1), (0.0, 1.0), "Different"),
        ((1.0, 0.0), (1.0, 0.0), (1.0,), "Different"),
        ((0.0, 0.0), (0.0, 0.0), (1.0, 0.0), "Different"),
        ((1.0,), (), (1.0,), "Inconclusive"),
    ],
)
def test_vectors_may_be_as_far_apart_as_in_two_cold_rounds(
    cold: tuple[float, ...], again: tuple[float, ...], warm: tuple[float, ...], expected: str
) -> None:
    assert compare(*([Answer(numbers=numbers)] for numbers in (cold, again, warm))) == expected


def test_worst() -> None:
    assert worst(["Identical", "Different", "Inconclusive"]) == "Different"
    assert worst(["Identical", "WithinNoise"]) == "WithinNoise"
    assert worst([]) == "Inconclusive"
