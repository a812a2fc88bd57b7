"""An applied object counts as settled until the applied or the stored object changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tunecast_operator.reconcile.settled import Settled
from tunecast_operator.runtime.cluster import DEPLOYMENT, SERVICE

DESIRED: dict[str, Any] = {"metadata": {"namespace": "a", "name": "x"}, "spec": {"env": ["OURS"]}}
LIVE: dict[str, Any] = {
    "metadata": {"namespace": "a", "name": "x", "uid": "1", "resourceVersion": "7"},
    "spec": {"env": ["OURS", "COMPANY"]},
    "status": {"replicas": 0},
}


def changed(item: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(item), **fields}


@pytest.fixture
def settled() -> Settled:
    found = Settled()
    found.applied(DEPLOYMENT, DESIRED, LIVE)
    return found


def test_an_object_stays_settled_when_only_status_or_version_change(settled: Settled) -> None:
    newer = {**LIVE["metadata"], "resourceVersion": "8"}
    assert settled.holds(DEPLOYMENT, DESIRED, changed(LIVE, metadata=newer, status={"replicas": 2}))


@pytest.mark.parametrize(
    ("desired", "live"),
    [
        (changed(DESIRED, spec={"env": ["OURS", "NEW"]}), LIVE),
        (DESIRED, changed(LIVE, spec={"env": ["COMPANY"]})),
        (DESIRED, changed(LIVE, metadata={**LIVE["metadata"], "labels": {"a": "b"}})),
        (DESIRED, changed(LIVE, metadata={**LIVE["metadata"], "uid": "2"})),
        (DESIRED, None),
    ],
    ids=["another desired value", "a removed field", "another label", "recreated", "deleted"],
)
def test_a_change_of_either_side_ends_it(settled: Settled, desired: dict[str, Any], live: dict[str, Any]) -> None:
    assert not settled.holds(DEPLOYMENT, desired, live)


def test_it_is_of_one_kind_and_forgotten_with_its_object(settled: Settled) -> None:
    assert not settled.holds(SERVICE, DESIRED, LIVE)
    settled.gone("a", "x")
    assert not settled.holds(DEPLOYMENT, DESIRED, LIVE)
