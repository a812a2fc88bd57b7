"""Starts, watches, reads and stops a child process of a rank."""

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

HEAD_LINES = 20_000  # first lines that are kept, to find the phases
TAIL_LINES = 400  # last lines that are kept, for the diagnosis
LINE_CHARACTERS = 2_000
STOP_SECONDS = 30.0  # grace period in which the engine writes its caches and exits
ABORT_SECONDS = 3.0  # grace period after a failure


class Log:
    """The first and the last lines of a log, in bounded memory."""

    def __init__(self) -> None:
        self.head: list[Line] = []
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, seconds: float, raw: bytes) -> None:
        # Progress bars overwrite their line, so only its last state is kept.
        text = raw.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2][:LINE_CHARACTERS]
        self._tail.append(text)
        if len(self.head) < HEAD_LINES:
            self.head.append((seconds, text))

    @property
    def tail(self) -> list[str]:
        return list(self._tail)


class Process:
    """One run of a command in its own process group."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        console: Console,
        what: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the process. ``what`` names it in messages.

        Raises:
            AttemptError: ENGINE_REJECTED, the program can't be run.
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
        """Seconds since the process started."""
        return self._clock() - self._started

    def ended(self) -> int | None:
        """Returns the exit status as in ``subprocess``, or None while the process runs.

        Once there is a status, the log has the whole output.
        """
        code = self._process.poll()
        if code is not None:
            self._reader.join(timeout=2.0)
        return code

    def failure(self, code: int) -> AttemptError:
        """Returns the error that explains why the process ended with ``code``."""
        return diagnose(code, self.log.tail, self._what, cgroup.oom_kills() - self._oom_kills)

    def stop(self, grace: float = STOP_SECONDS) -> None:
        """Sends SIGTERM to the process group, waits up to ``grace`` seconds, and sends SIGKILL to the rest."""
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
        """Whether no process of the group is left. Reaps orphans, which a pod's process 1 inherits."""
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
                line = self._console.redactor.line(raw)  # before the line is cut, kept or quoted
                self.log.add(self._clock() - self._started, line)
                self._console.echo(line if line.endswith(b"\n") else line + b"\n")
