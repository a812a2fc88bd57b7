"""When a bundle is blamed for its engines' crashes."""

from __future__ import annotations

from typing import Any

import pytest

from support.objects import serving_pod
from tunecast_operator.plan.crashes import crashes, to_blame

BEGAN, SOON = "2026-01-01T10:00:00Z", "2026-01-01T10:01:00Z"
LATE, LATER = "2026-01-01T12:00:00Z", "2026-01-01T12:01:00Z"
MANIFEST = "m" * 64


def ended(code: int = 139, over: str = SOON, reason: str = "Error", began: str = BEGAN) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": over}}


WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}


@pytest.mark.parametrize(
    ("engine", "times"),
    [
        ({"state": {"running": {}}, "ready": True}, 0),
        ({"state": {"running": {}}}, 0),
        ({"state": ended()}, 1),
        ({"state": WAITING, "lastState": ended(), "restartCount": 0}, 1),
        ({"state": WAITING, "lastState": ended(), "restartCount": 1}, 2),
        ({"state": {"running": {}}, "lastState": ended(over=LATER, began=LATE), "restartCount": 5}, 1),  # it once ran
        ({"state": {"running": {}}, "lastState": ended(), "restartCount": 2}, 2),
        ({"state": ended(), "lastState": ended(), "restartCount": 2}, 3),
        ({"state": {"running": {}}, "lastState": ended(), "restartCount": 2, "ready": True}, 0),  # it can start
        ({"state": WAITING, "lastState": ended(137, reason="OOMKilled"), "restartCount": 2}, 0),
        ({"state": WAITING, "lastState": ended(over=LATE), "restartCount": 2}, 0),  # it had started
        ({"state": WAITING, "lastState": ended(143), "restartCount": 2}, 0),  # a probe
        ({"state": ended(137, reason="ContainerStatusUnknown"), "restartCount": 2}, 0),
        ({"state": {"terminated": {"exitCode": 139}}, "restartCount": 2}, 0),  # when isn't known
        ({"state": WAITING, "lastState": ended(0), "restartCount": 2}, 0),
        ({}, 0),
    ],
)
def test_what_counts_as_a_crash(engine: dict[str, Any], times: int) -> None:
    found = crashes([serving_pod("a", MANIFEST, engine)])
    assert sum(crash.times for crash in found) == times


@pytest.mark.parametrize(
    "ending",
    [
        {"metadata": {"name": "a", "uid": "u", "deletionTimestamp": SOON}},
        {"status": {"phase": "Failed"}},
        {"status": {"reason": "Evicted"}},
        {"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}},
    ],
)
def test_replicas_that_somebody_ends_blame_nothing(ending: dict[str, Any]) -> None:
    pod = serving_pod("a", MANIFEST, {"state": ended(), "restartCount": 3})
    assert crashes([pod])
    pod["metadata"] = ending.get("metadata", pod["metadata"])
    pod["status"] |= ending.get("status", {})
    assert crashes([pod]) == []


def test_only_replicas_that_began_from_a_bundle_blame_it() -> None:
    crashed = {"state": ended(), "restartCount": 1}
    assert crashes([serving_pod("a", "", crashed)]) == []
    other = serving_pod("b", "n" * 64, crashed)
    assert to_blame(crashes([other]), MANIFEST) == ""


@pytest.mark.parametrize(("restarts", "blamed"), [([0], False), ([1], True), ([0, 0], True)])
def test_two_crashes_are_enough_of_one_replica_or_of_two(restarts: list[int], blamed: bool) -> None:
    pods = [
        serving_pod(f"pod-{n}", MANIFEST, {"state": ended(), "restartCount": count}) for n, count in enumerate(restarts)
    ]
    why = to_blame(crashes(pods), MANIFEST)
    assert bool(why) == blamed
    assert not blamed or "pod-0 ended with 139" in why
