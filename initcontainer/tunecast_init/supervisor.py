"""Runs the work in a child process, so that a deadline, a signal or a crash always leaves someone to report it."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType

from tunecast_core.errors import MalformedError, TunecastError
from tunecast_core.records import report
from tunecast_core.records.codec import canonical, decode
from tunecast_core.records.report import InitReport

LAST_WORDS = 1.0  # seconds for a killed child to be gone


class TerminatedError(TunecastError):
    reason = report.TERMINATED


class _DeadlineError(TunecastError):
    reason = report.DEADLINE_EXCEEDED


class _WorkerDiedError(TunecastError):
    reason = report.INTERNAL_ERROR


class _OutOfMemoryError(TunecastError):
    reason = report.OUT_OF_MEMORY


def supervise(work: Callable[[], InitReport], until: float) -> InitReport:
    """The report of ``work``, which runs in a child that is gone when this returns.

    Args:
        work: raises TunecastError, or anything else where there is a bug.
        until: by ``time.monotonic``; the child is killed then, whatever it hangs in.
    """
    reader, writer = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until whoever it reaches knows what to do
    child = os.fork()
    if child == 0:
        _be_the_child(work, writer)
    os.close(writer)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        data = _read(reader, until)
    except TunecastError as error:
        _reap(child)
        return cold(error)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here on it only takes a moment
        os.close(reader)
    status = _reap(child)
    try:
        return decode(InitReport, data, "the worker's report")
    except MalformedError:
        return cold(_death(status))


def _death(status: int) -> TunecastError:
    """Why a worker said nothing. Nobody but the kernel sends SIGKILL to it alone."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return _OutOfMemoryError(
            "the worker process was killed, as the kernel does where memory runs out: raise the init container's "
            "memory limit (the chart's value initContainer.resources)"
        )
    return _WorkerDiedError("the worker process died before it could report; see the container's log")


def cold(error: TunecastError, key: str = "", seconds: dict[str, float] | None = None) -> InitReport:
    return InitReport(result="Cold", reason=error.reason, message=str(error), key=key, seconds=seconds or {})


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise TerminatedError("the init container was told to end (SIGTERM)")


def _be_the_child(work: Callable[[], InitReport], writer: int) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        data = canonical(work())
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(data)
    except BaseException:  # noqa: BLE001  # the parent says the rest
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _read(reader: int, until: float) -> bytes:
    data = b""
    while True:
        left = max(0.0, until - time.monotonic())
        if not select.select([reader], [], [], left)[0]:
            raise _DeadlineError("the deadline was over; check that the endpoint can be reached from this namespace")
        chunk = os.read(reader, 2**16)
        if not chunk:
            return data
        data += chunk


def _reap(child: int) -> int:
    """Ends the child; returns how it ended, or 0 where it doesn't within LAST_WORDS."""
    os.kill(child, signal.SIGKILL)
    until = time.monotonic() + LAST_WORDS
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.005)
    return ended[1]
