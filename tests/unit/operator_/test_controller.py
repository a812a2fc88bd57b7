from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from tunecast_core.errors import TunecastError
from tunecast_operator.runtime.cluster import ConflictError
from tunecast_operator.runtime.controller import GONE, Controller
from tunecast_operator.runtime.metrics import Metrics
from tunecast_operator.runtime.workqueue import Item, WorkQueue

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
ITEM = Item("K", "n", "a")


def returning(value: float | None) -> Callable[[str, str], float | None]:
    return lambda _namespace, _name: value


def raising(error: Exception) -> Callable[[str, str], float | None]:
    def reconcile(_namespace: str, _name: str) -> float | None:
        raise error

    return reconcile


@pytest.mark.parametrize(
    ("reconcile", "waits"),
    [
        (returning(None), 1),
        (returning(5.0), 1),
        (returning(GONE), 0),
        (raising(ConflictError("changed")), 1),
        (raising(TunecastError("refused")), 1),
        (raising(KeyError("a bug")), 1),
    ],
)
def test_all_but_what_is_gone_is_looked_at_again(reconcile: Callable[[str, str], float | None], waits: int) -> None:
    queue = WorkQueue()
    Controller(queue, {"K": reconcile}, workers=0, metrics=Metrics(NOW)).run(ITEM)
    assert len(queue) == waits


def test_an_object_that_comes_back_while_it_is_found_gone_is_looked_at_again() -> None:
    queue = WorkQueue()

    def reconcile(_namespace: str, _name: str) -> float:
        queue.add(ITEM)
        return GONE

    queue.add(ITEM)
    item = queue.get()
    assert item
    Controller(queue, {"K": reconcile}, workers=0, metrics=Metrics(NOW)).run(item)
    queue.done(item)
    assert queue.get() == ITEM
