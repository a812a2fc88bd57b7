"""A dead store receives few requests, and no caller waits past the deadline."""

from __future__ import annotations

import pytest

from tunecast_core.errors import AccessDeniedError, StoreUnavailableError
from tunecast_core.store.retry import Retries


class World:
    """A clock that sleeping moves, and work that fails some times."""

    def __init__(self, failures: int, seconds: float = 0.0) -> None:
        self.now, self.failures, self.seconds, self.calls = 100.0, failures, seconds, 0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def work(self) -> str:
        self.calls += 1
        self.now += self.seconds
        if self.calls <= self.failures:
            raise StoreUnavailableError("down")
        return "done"

    def retries(self) -> Retries:
        return Retries(tries=5, first=1.0, most=4.0, clock=lambda: self.now, sleep=self.sleep, random=lambda: 1.0)


@pytest.mark.parametrize("failures", range(5))
def test_it_ends_with_the_first_success(failures: int) -> None:
    world = World(failures)
    assert world.retries().call(world.work, until=1000.0) == "done"
    assert world.pauses == [1.0, 2.0, 4.0, 4.0][:failures]


def test_it_gives_up_after_the_last_try() -> None:
    world = World(99)
    with pytest.raises(StoreUnavailableError):
        world.retries().call(world.work, until=1000.0)
    assert world.calls == 5


def test_it_never_sleeps_past_the_deadline() -> None:
    world = World(99, seconds=1.0)
    with pytest.raises(StoreUnavailableError):
        world.retries().call(world.work, until=105.0)
    assert (world.calls, world.now) == (2, 103.0)


def test_other_errors_are_final() -> None:
    calls = []

    def denied() -> None:
        calls.append(1)
        raise AccessDeniedError("no")

    with pytest.raises(AccessDeniedError):
        World(0).retries().call(denied, until=1000.0)
    assert calls == [1]
