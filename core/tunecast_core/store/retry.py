"""Retries with full jitter, a bounded number of times and until a deadline, so that a failing store isn't flooded."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tunecast_core.errors import StoreUnavailableError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """A retry policy. Pauses are random between zero and a bound, which doubles from ``first`` up to ``most`` seconds.

    With the defaults, five tries that fail at once take 3.75 seconds on average, and at most 7.5 seconds.
    """

    tries: int = 5
    first: float = 0.5  # seconds
    most: float = 4.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def call(self, work: Callable[[], T], until: float) -> T:
        """Calls ``work`` until it succeeds, and returns its result.

        Args:
            work: may be called several times.
            until: deadline in seconds, by ``clock``.

        Raises:
            StoreUnavailableError: the last try failed, or the next pause would exceed the deadline.
        """
        for tried in range(1, self.tries):
            try:
                return work()
            except StoreUnavailableError:
                pause = self.random() * min(self.most, self.first * 2 ** (tried - 1))
                if self.clock() + pause >= until:
                    raise
                self.sleep(pause)
        return work()
