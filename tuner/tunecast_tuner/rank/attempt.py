"""The lifetime of one attempt: its deadline, and interruptible waits of the main thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tunecast_core.records import job
from tunecast_tuner.rank.failures import AttemptError

T = TypeVar("T")
STEP = 0.05  # seconds between two checks whether the attempt has ended


class Attempt:
    """The state of one attempt. It is polled, so that signal handlers and any thread may call ``end``."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._seconds = seconds
        self._failure: AttemptError | None = None
        self._limits: list[tuple[float, Callable[[], AttemptError]]] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the attempt began."""
        return self._clock() - self._started

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._seconds - self.elapsed)

    def limit(self, seconds: float) -> None:
        """Sets the deadline, in seconds since the attempt began."""
        self._seconds = seconds

    @contextmanager
    def within(self, seconds: float, failure: Callable[[], AttemptError]) -> Iterator[None]:
        """Sets an additional deadline for waits in the block, after which the error of ``failure`` is raised."""
        limit = (self._clock() + seconds, failure)
        self._limits.append(limit)
        try:
            yield
        finally:
            self._limits.remove(limit)

    def end(self, failure: AttemptError) -> None:
        """Ends the attempt. Only the first failure is kept."""
        if self._failure is None:
            self._failure = failure

    def check(self) -> None:
        """Raises AttemptError if the attempt has ended or a deadline has passed."""
        if self._failure is not None:
            raise self._failure
        if not self.remaining:
            raise AttemptError(job.TIMED_OUT, f"the attempt did not finish within {self._seconds:.0f} s")
        for end, failure in self._limits:
            if self._clock() >= end:
                raise failure()

    def sleep(self, seconds: float) -> None:
        """Sleeps. Raises AttemptError as soon as the attempt ends."""
        self._wait(lambda: False, seconds, STEP)

    def until(self, condition: Callable[[], bool], every: float = STEP) -> None:
        """Waits for ``condition``. Raises AttemptError as soon as the attempt ends."""
        self._wait(condition, self._seconds, every)

    def run(self, work: Callable[[], T]) -> T:
        """Runs blocking ``work`` in a new thread, which is abandoned if the attempt ends first."""
        results: list[T] = []
        errors: list[BaseException] = []

        def body() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                errors.append(error)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        while thread.is_alive():
            self.check()
            thread.join(STEP)
        if errors:
            raise errors[0]
        return results[0]

    def _wait(self, condition: Callable[[], bool], seconds: float, every: float) -> None:
        end = self._clock() + seconds
        while True:
            self.check()
            if condition():
                return
            left = end - self._clock()
            if left <= 0:
                return
            time.sleep(min(every, left))
