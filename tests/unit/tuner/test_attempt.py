from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tunecast_core.records import job
from tunecast_tuner.rank.attempt import Attempt
from tunecast_tuner.rank.failures import AttemptError

FAILURE = AttemptError(job.TERMINATED, "SIGTERM")


def test_the_first_reason_stays() -> None:
    attempt = Attempt(60.0)
    attempt.end(FAILURE)
    attempt.end(AttemptError(job.PEER_LOST, "later", 1))
    with pytest.raises(AttemptError, match="SIGTERM"):
        attempt.check()


def test_its_deadline() -> None:
    now = 0.0
    attempt = Attempt(60.0, lambda: now)
    attempt.check()
    now = 60.0
    with pytest.raises(AttemptError) as caught:
        attempt.check()
    assert caught.value.reason == job.TIMED_OUT


@pytest.mark.parametrize(
    "wait",
    [
        lambda attempt, forever: attempt.run(forever.wait),
        lambda attempt, _: attempt.sleep(50.0),
        lambda attempt, _: attempt.until(lambda: False),
    ],
    ids=["run", "sleep", "until"],
)
def test_nothing_waits_on_after_its_end(wait: Callable[[Attempt, threading.Event], Any]) -> None:
    attempt, forever = Attempt(60.0), threading.Event()
    threading.Timer(0.1, attempt.end, [FAILURE]).start()
    with pytest.raises(AttemptError, match="SIGTERM"):
        wait(attempt, forever)
    assert attempt.elapsed < 5.0
    forever.set()


def test_run_gives_results_and_errors() -> None:
    attempt = Attempt(60.0)
    assert attempt.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        attempt.run(lambda: 1 // 0)
