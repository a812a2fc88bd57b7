from __future__ import annotations

import pytest

from tunecast_core.records import job
from tunecast_tuner.peers.heartbeat import Ending, Ledger, adopted, announce
from tunecast_tuner.rank.failures import AttemptError


def test_a_rank_that_was_never_heard_of_is_not_lost() -> None:
    assert Ledger(8.0).lost(1e9) is None


def test_a_beat_counts_when_it_changes() -> None:
    ledger = Ledger(8.0)
    ledger.saw(1, b"0", 0.0)
    ledger.saw(1, b"0", 7.0)
    assert ledger.lost(7.9) is None
    assert ledger.lost(8.1) == 1
    ledger.saw(1, b"1", 8.1)
    assert ledger.lost(16.0) is None


def test_the_lowest_silent_rank_is_named_and_one_that_left_is_not() -> None:
    ledger = Ledger(8.0)
    for rank in (3, 1, 2):
        ledger.saw(rank, b"0", 0.0)
    ledger.forget(1)
    assert ledger.lost(9.0) == 2


@pytest.mark.parametrize(
    ("ending", "lost", "words"),
    [
        (Ending(job.ENGINE_CRASHED, "it exited"), 2, "rank 2 ended: EngineCrashed: it exited"),
        (Ending(job.PEER_LOST, "rank 1 was silent for 8 s", 1), 1, "rank 1 was silent for 8 s"),
    ],
)
def test_the_first_cause_is_passed_on(ending: Ending, lost: int, words: str) -> None:
    failure = adopted(2, ending)
    assert (failure.reason, failure.lost_rank, failure.message) == (job.PEER_LOST, lost, words)


class Store(dict[str, bytes]):
    def set(self, key: str, value: str) -> None:
        self[key] = value.encode()

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self for key in keys)


def test_an_announcement_is_short() -> None:
    store = Store()
    announce(store, 1, AttemptError(job.INTERNAL, "x" * 100_000))
    assert len(store["ending/1"]) < 2200
