"""Tries again with full jitter, a bounded number of times and until a deadline: a dead store sees few requests."""

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
    """How often and how patiently; pauses are random between zero and a bound that doubles from ``first`` to ``most``.

    With the defaults, five tries that fail at once take 3.75 seconds on average, and 7.5 at the most.
    """

    tries: int = 5
    first: float = 0.5  # seconds
    most: float = 4.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def call(self, work: Callable[[], T], until: float) -> T:
        """What ``work`` returns; StoreUnavailableError after the last try, or where ``until`` is near.

        Args:
            work: may be called several times.
            until: by ``clock``, in seconds.
        """
        for tried in range(1, self.tries):
            try:
                return work()
            except StoreUnavailableError:  # that is what the loop is for
                pause = self.random() * min(self.most, self.first * 2 ** (tried - 1))
                if self.clock() + pause >= until:
                    raise
                self.sleep(pause)
        return work()
