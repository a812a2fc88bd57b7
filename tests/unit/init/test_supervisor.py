"""However the worker ends, there is a report, and the worker is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunecast_core.records.report import InitReport
from tunecast_init.supervisor import supervise

HIT = InitReport("Hit", "Installed", "done", "key")


@pytest.fixture(autouse=True)
def same_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def hang() -> InitReport:
    while True:
        signal.pause()


def ignore_the_signal() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def heed_the_signal() -> None:
    pass


def test_the_report_comes_back() -> None:
    assert supervise(lambda: HIT, time.monotonic() + 10) == HIT


@pytest.mark.parametrize("prepare", [heed_the_signal, ignore_the_signal])
def test_a_worker_that_hangs_is_killed_at_the_deadline(prepare: Callable[[], None], tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    pid.touch()

    def work() -> InitReport:
        prepare()
        pid.write_text(str(os.getpid()))
        return hang()

    for seconds in (0.3, 3.0, 30.0):  # a busy machine may not have started the worker at the first deadlines
        deadline = time.monotonic() + seconds
        assert supervise(work, deadline).reason == "DeadlineExceeded"
        assert 0 <= time.monotonic() - deadline < 2
        if pid.read_text():
            break
    assert pid.read_text()
    assert not Path(f"/proc/{pid.read_text()}").exists()


def killed(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (killed(signal.SIGKILL), "OutOfMemory"),  # only the kernel sends it to the worker alone
        (killed(signal.SIGUSR1), "InternalError"),
        (lambda: os._exit(3), "InternalError"),
        (lambda: 1 / 0, "InternalError"),
    ],
)
def test_a_worker_that_dies_is_reported(end: Callable[[], object], reason: str) -> None:
    def work() -> InitReport:
        end()
        return HIT

    assert supervise(work, time.monotonic() + 10).reason == reason


def test_a_signal_ends_it() -> None:
    def work() -> InitReport:
        os.kill(os.getppid(), signal.SIGTERM)
        return hang()

    parent = os.fork()
    if parent == 0:  # a separate process, because the signal reaches all of it
        os._exit(0 if supervise(work, time.monotonic() + 10).reason == "Terminated" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 0
