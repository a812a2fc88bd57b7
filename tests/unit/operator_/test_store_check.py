"""The operator starts with an unusable store, and reports it until the store works."""

from __future__ import annotations

import logging
import threading

import pytest

from tunecast_core.errors import StoreError, StoreUnavailableError, TunecastError
from tunecast_operator.runtime.store_check import check_until_passed


class Store:
    """A store that fails once for each error."""

    def __init__(self, *errors: TunecastError) -> None:
        self.errors = list(errors)
        self.reasons: list[str] = []

    def check(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def until_passed(self) -> None:
        check_until_passed(self.check, self.reasons.append, threading.Event(), pause=0.0)


def test_each_failure_is_counted_and_each_message_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    down, region = StoreUnavailableError("down"), StoreError("set s3.region")
    store = Store(down, down, region)
    store.until_passed()
    assert store.reasons == ["StoreUnavailable", "StoreUnavailable", "StoreFailed"]
    logged = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in logged] == ["WARNING", "WARNING", "INFO"]
    assert "down" in logged[0][1]
    assert "set s3.region" in logged[1][1]
    assert "passed" in logged[2][1]


def test_it_ends_with_the_operator() -> None:
    stopped = threading.Event()

    def check() -> None:
        stopped.set()
        raise StoreError("no")

    check_until_passed(check, lambda _: None, stopped, pause=3600.0)
