"""The recorder counts each look-up of a FlashInfer operator once, with its tactic."""

from __future__ import annotations

from typing import Any

import pytest

from tunecast_tuner.flashinfer_ops.recorder import plain, recording


class Runner: ...


class Other: ...


class Tuner:
    """Finds tactics for shapes of two and more tokens, as FlashInfer's autotuner would after it tuned them."""

    def search_cache(
        self, _operator: str, _runners: list[Any], shapes: Any, _config: Any = None, inputs: Any = None
    ) -> tuple[bool, int, Any, Any]:
        del inputs
        return (True, 1, (128, shapes[0][0]), None) if shapes[0][0] > 1 else (False, 0, -1, None)


def test_hits_misses_and_tactics_are_recorded() -> None:
    tuner, runners = Tuner(), [Runner(), Other()]
    with recording(tuner) as found:
        for _ in range(2):
            tuner.search_cache("gemm", runners, ((1, 8),))
            tuner.search_cache("gemm", runners, ((2, 8),), None, inputs=[])
        assert tuner.search_cache("gemm", runners, ((4, 8),), None) == (True, 1, (128, 4), None)
    assert (found.hits, found.misses) == ({"gemm [[2, 8]]", "gemm [[4, 8]]"}, {"gemm [[1, 8]]"})
    assert found.tactics == {
        "gemm [[1, 8]]": ["Runner", -1],
        "gemm [[2, 8]]": ["Other", [128, 2]],
        "gemm [[4, 8]]": ["Other", [128, 4]],
    }


def test_the_recorder_is_removed_after_any_outcome() -> None:
    tuner = Tuner()
    with pytest.raises(ZeroDivisionError), recording(tuner) as found:
        raise ZeroDivisionError
    tuner.search_cache("gemm", [Runner()], ((1, 8),))
    assert found.misses == set()


@pytest.mark.parametrize(
    ("tactic", "expected"),
    [(-1, -1), (True, True), ("a", "a"), (None, None), ((1, (2, [3])), [1, [2, [3]]]), (range(2), [0, 1])],
)
def test_tactics_as_json(tactic: Any, expected: Any) -> None:
    assert plain(tactic) == expected


def test_a_tactic_of_another_kind_is_the_same_on_all_ranks() -> None:
    assert plain(Runner()) == plain(Runner()) == "Runner"


class Integer:
    """An integer type like numpy's."""

    def __index__(self) -> int:
        return 7


def test_foreign_integers_are_numbers() -> None:
    assert plain([Integer()]) == [7]
