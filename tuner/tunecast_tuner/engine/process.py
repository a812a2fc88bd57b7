"""A child process of a rank: started, watched, read and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO

from tunecast_core.records import job
from tunecast_tuner.proof.diagnosis import diagnose
from tunecast_tuner.proof.phases import Line
from tunecast_tuner.rank import cgroup
from tunecast_tuner.rank.console import Console
from tunecast_tuner.rank.failures import AttemptError

HEAD_LINES = 20_000  # of the start, for the phases
TAIL_LINES = 400  # before the end, for the diagnosis
LINE_CHARACTERS = 2_000
STOP_SECONDS = 30.0  # to write its caches and exit
ABORT_SECONDS = 3.0  # when nothing of it is of use any more


class Log:
    """The first and the last lines of a log, in bounded memory."""

    def __init__(self) -> None:
        self.head: list[Line] = []
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, seconds: float, raw: bytes) -> None:
        # Progress bars overwrite their line: its last state counts.
        text = raw.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2][:LINE_CHARACTERS]
        self._tail.append(text)
        if len(self.head) < HEAD_LINES:
            self.head.append((seconds, text))

    @property
    def tail(self) -> list[str]:
        return list(self._tail)


class Process:
    """One run of a command, in a process group of its own."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        console: Console,
        what: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts it; ``what`` it is, in messages.

        Raises:
            AttemptError: ENGINE_REJECTED, its program can't be run.
        """
        self.log = Log()
        self._what = what
        self._console = console
        self._clock = clock
        self._started = clock()
        self._oom_kills = cgroup.oom_kills()
        try:
            self._process = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise AttemptError(job.ENGINE_REJECTED, f"the program {command[0]!r} can't be run: {error}") from error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def seconds(self) -> float:
        """Since the process started."""
        return self._clock() - self._started

    def ended(self) -> int | None:
        """Its exit status as ``subprocess`` gives it, once there is one; all of its output is in the log then."""
        code = self._process.poll()
        if code is not None:
            self._reader.join(timeout=2.0)
        return code

    def failure(self, code: int) -> AttemptError:
        """Why it ended so."""
        return diagnose(code, self.log.tail, self._what, cgroup.oom_kills() - self._oom_kills)

    def stop(self, grace: float = STOP_SECONDS) -> None:
        """SIGTERM to all of its processes, ``grace`` seconds, SIGKILL to what is left."""
        self._signal(signal.SIGTERM)
        end = time.monotonic() + grace
        while not self._gone() and time.monotonic() < end:
            time.sleep(0.05)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=2.0)
        while not self._gone() and time.monotonic() < end + 2.0:
            time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _gone(self) -> bool:
        """Whether no process of its group is left. As process 1 of a pod we also inherit its orphans, and reap them."""
        if self._process.poll() is None:
            return False
        with suppress(ChildProcessError):
            while os.waitpid(-self._process.pid, os.WNOHANG)[0]:
                pass
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def _read(self) -> None:
        pipe: BinaryIO = self._process.stdout  # type: ignore[assignment]
        with pipe:
            for raw in pipe:
                told = self._console.redactor.line(raw)  # before anything of it is cut, kept or quoted
                self.log.add(self._clock() - self._started, told)
                self._console.echo(told if told.endswith(b"\n") else told + b"\n")
