"""While a store is down, only one caller at a time waits for it."""

from __future__ import annotations

import threading

import pytest

from tunecast_core.errors import AccessDeniedError, StoreError, StoreUnavailableError
from tunecast_core.store.breaker import Breaker


class World:
    """A clock, and a store that is down or not."""

    def __init__(self) -> None:
        self.now, self.calls = 100.0, 0
        self.error: StoreError | None = StoreUnavailableError("down")
        self.breaker = Breaker(seconds=10.0, clock=lambda: self.now)

    def work(self) -> str:
        self.calls += 1
        if self.error:
            raise self.error
        return "done"

    def call(self) -> str:
        return self.breaker.call(self.work)

    def fails(self) -> None:
        with pytest.raises(StoreUnavailableError, match="down"):
            self.call()


def test_after_a_failure_calls_fail_at_once_with_its_message() -> None:
    world = World()
    for _ in range(3):
        world.fails()
    assert world.calls == 1


def test_after_some_seconds_one_call_tries_again() -> None:
    world = World()
    world.fails()
    world.now += 10.0
    world.fails()
    world.fails()
    assert world.calls == 2


def test_a_success_closes_it() -> None:
    world = World()
    world.fails()
    world.now += 10.0
    world.error = None
    assert [world.call(), world.call()] == ["done", "done"]


def test_while_one_call_retries_the_others_fail_at_once() -> None:
    world = World()
    world.fails()
    world.now += 10.0
    trying, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        trying.set()
        go_on.wait(10)

    thread = threading.Thread(target=world.breaker.call, args=(slow,))
    thread.start()
    assert trying.wait(10)
    world.now += 3600.0
    world.fails()
    go_on.set()
    thread.join()
    world.error = None
    assert world.call() == "done"


@pytest.mark.parametrize("error", [AccessDeniedError("no"), StoreError("no")])
def test_a_refusal_is_an_answer(error: StoreError) -> None:
    world = World()
    world.error = error
    for _ in range(2):
        with pytest.raises(StoreError, match="no"):
            world.call()
    assert world.calls == 2


def test_a_refusal_closes_it() -> None:
    world = World()
    world.fails()
    world.now += 10.0
    world.error = AccessDeniedError("no")
    for _ in range(2):
        with pytest.raises(AccessDeniedError):
            world.call()
