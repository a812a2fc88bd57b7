"""A circuit breaker: while the store is down, one call tries it from time to time, and all others fail at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tunecast_core.errors import StoreUnavailableError

T = TypeVar("T")
OPEN_SECONDS = 10.0


class Breaker:
    """Opens when a call raises StoreUnavailableError. After ``seconds``, one call tries again and closes it on success.

    The breaker is thread-safe. Other errors don't open it, because they are answers of the store.
    """

    def __init__(self, seconds: float = OPEN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._lock = threading.Lock()
        self._failure: str | None = None
        self._retry_at = 0.0

    def call(self, work: Callable[[], T]) -> T:
        """Calls ``work`` and returns its result.

        Raises:
            StoreUnavailableError: raised by ``work``, or the breaker is open; then with the message that opened it.
        """
        with self._lock:
            if self._failure is not None and self._clock() < self._retry_at:
                raise StoreUnavailableError(self._failure)
            if self._failure is not None:
                self._retry_at = float("inf")  # no other call tries until this one has ended
        failure = None
        try:
            return work()
        except StoreUnavailableError as error:
            failure = str(error)
            raise
        finally:
            with self._lock:
                self._failure, self._retry_at = failure, self._clock() + self._seconds
