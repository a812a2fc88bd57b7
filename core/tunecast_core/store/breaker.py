"""A circuit breaker: where a store is down, one caller waits for it now and then, and all others fail at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tunecast_core.errors import StoreUnavailableError

T = TypeVar("T")
OPEN_SECONDS = 10.0


class Breaker:
    """Opens when a call finds the store unavailable. After ``seconds`` one call tries again, which closes it or not.

    Thread-safe. Only StoreUnavailableError opens it: a refusal is an answer.
    """

    def __init__(self, seconds: float = OPEN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._lock = threading.Lock()
        self._failure: str | None = None
        self._retry_at = 0.0

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` returns.

        Raises:
            StoreUnavailableError: of ``work``; or, while it is open, in the words of the one that opened it.
        """
        with self._lock:
            if self._failure is not None and self._clock() < self._retry_at:
                raise StoreUnavailableError(self._failure)
            if self._failure is not None:
                self._retry_at = float("inf")  # until this call has ended
        failure = None
        try:
            return work()
        except StoreUnavailableError as error:
            failure = str(error)
            raise
        finally:
            with self._lock:
                self._failure, self._retry_at = failure, self._clock() + self._seconds
