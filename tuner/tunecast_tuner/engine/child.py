"""The engine as a child process: starts it, watches it, and checks its health."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tunecast_core.engine.command_line import CommandLine
from tunecast_core.engine.listen import listen
from tunecast_core.records import job
from tunecast_tuner.engine.client import Client
from tunecast_tuner.engine.process import ABORT_SECONDS, Process
from tunecast_tuner.rank.attempt import Attempt
from tunecast_tuner.rank.console import Console
from tunecast_tuner.rank.failures import AttemptError


class EngineProcess(Process):
    """One run of the serving command line."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        line: CommandLine,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the engine. ``line`` is the parsed ``command``.

        Raises:
            AttemptError: ENGINE_REJECTED, the program can't be run; BAD_SETTINGS, the port is in use.
        """
        self.client = Client(line.port, listen(line), line.api_key(environment) or "")
        if self.client.listens():
            raise AttemptError(
                job.BAD_SETTINGS, f"something other than the engine listens on port {line.port} already: free it"
            )
        super().__init__(command, environment, console, "the engine", clock)

    def check(self) -> None:
        """Raises AttemptError if the engine has exited on its own."""
        code = self.ended()
        if code is not None:
            raise self.failure(code)

    def wait_healthy(self, attempt: Attempt) -> float:
        """Waits until ``/health`` answers 200, and returns the seconds since the process started.

        Raises:
            AttemptError: the engine exited, or the attempt ended.
        """

        def condition() -> bool:
            self.check()
            return self.client.healthy()

        attempt.until(condition, every=0.1)
        return self.seconds


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], line: CommandLine, console: Console
) -> Iterator[EngineProcess]:
    """Runs an engine for the block, and then stops it: after an error with a short grace period."""
    engine = EngineProcess(command, environment, line, console)
    try:
        yield engine
    except BaseException:
        engine.stop(ABORT_SECONDS)
        raise
    engine.stop()
