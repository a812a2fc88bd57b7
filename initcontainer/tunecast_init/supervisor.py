"""Runs the work in a child process, so that the parent can report a missed deadline, a signal or a crash."""

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

REAP_SECONDS = 1.0  # time that a killed child has to exit


class TerminatedError(TunecastError):
    reason = report.TERMINATED


class _DeadlineError(TunecastError):
    reason = report.DEADLINE_EXCEEDED


class _WorkerDiedError(TunecastError):
    reason = report.INTERNAL_ERROR


class _OutOfMemoryError(TunecastError):
    reason = report.OUT_OF_MEMORY


def supervise(work: Callable[[], InitReport], until: float) -> InitReport:
    """Runs ``work`` in a child process and returns its report. The child has exited when this returns.

    Args:
        work: may raise any exception.
        until: time by ``time.monotonic`` at which the child is killed.
    """
    reader, writer = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until both processes have set their handlers
    child = os.fork()
    if child == 0:
        _run_child(work, writer)
    os.close(writer)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        data = _read(reader, until)
    except TunecastError as error:
        _reap(child)
        return cold(error)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the rest takes only a moment
        os.close(reader)
    status = _reap(child)
    try:
        return decode(InitReport, data, "the worker's report")
    except MalformedError:
        return cold(_death(status))


def _death(status: int) -> TunecastError:
    """Returns the reason why a worker left no report. Only the kernel sends SIGKILL to the worker alone."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return _OutOfMemoryError(
            "the worker process was killed, as the kernel does where memory runs out: raise the init container's "
            "memory limit (the chart's value initContainer.resources)"
        )
    return _WorkerDiedError("the worker process died before it could report; see the container's log")


def cold(error: TunecastError, key: str = "", seconds: dict[str, float] | None = None) -> InitReport:
    return InitReport(result="Cold", reason=error.reason, message=str(error), key=key, seconds=seconds or {})


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise TerminatedError("the init container received SIGTERM")


def _run_child(work: Callable[[], InitReport], writer: int) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        data = canonical(work())
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(data)
    except BaseException:  # noqa: BLE001  # the parent reports the failure
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _read(reader: int, until: float) -> bytes:
    data = b""
    while True:
        left = max(0.0, until - time.monotonic())
        if not select.select([reader], [], [], left)[0]:
            raise _DeadlineError("the deadline passed; check that the endpoint can be reached from this namespace")
        chunk = os.read(reader, 2**16)
        if not chunk:
            return data
        data += chunk


def _reap(child: int) -> int:
    """Kills the child. Returns its wait status, or 0 if it has not exited within REAP_SECONDS."""
    os.kill(child, signal.SIGKILL)
    until = time.monotonic() + REAP_SECONDS
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.005)
    return ended[1]
