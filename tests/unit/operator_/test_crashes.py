"""Crashes of engines that their bundle may have caused."""

from __future__ import annotations

from typing import Any

import pytest

from support.objects import serving_pod
from tunecast_operator.plan.crashes import crashes

BEGAN, SOON = "2026-01-01T10:00:00Z", "2026-01-01T10:01:00Z"
HOUR_LATER = "2026-01-01T11:00:00Z"
BEFORE, EARLIER = "2026-01-01T09:40:00Z", "2026-01-01T09:41:00Z"
MANIFEST = "m" * 64


def ended(
    code: int = 139, over: str = SOON, reason: str = "Error", began: str = BEGAN, message: str = ""
) -> dict[str, Any]:
    found = {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": over, "message": message}
    return {"terminated": found}


WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}
KILLED = ended(137, reason="OOMKilled")


@pytest.mark.parametrize(
    ("engine", "times"),
    [
        ({"state": {"running": {}}, "ready": True}, 0),
        ({"state": {"running": {}}}, 0),
        ({"state": ended()}, 1),
        ({"state": WAITING, "lastState": ended(), "restartCount": 0}, 1),
        ({"state": WAITING, "lastState": ended(), "restartCount": 1}, 2),
        ({"state": {"running": {}}, "lastState": ended(), "restartCount": 2}, 2),
        ({"state": ended(), "lastState": ended(), "restartCount": 2}, 3),
        (
            {"state": {"running": {}}, "lastState": ended(over=HOUR_LATER), "restartCount": 2},
            2,
        ),  # the engine is still starting
        ({"state": {"running": {}}, "lastState": ended(), "restartCount": 2, "ready": True}, 0),  # the engine can start
        ({"state": {"running": {}}, "lastState": ended(), "restartCount": 2, "started": True}, 0),
        ({"state": WAITING, "lastState": KILLED, "restartCount": 2}, 0),
        ({"state": ended(), "lastState": KILLED, "restartCount": 4}, 1),  # status does not show how earlier runs ended
        ({"state": WAITING, "lastState": ended(143), "restartCount": 2}, 0),  # killed by a probe
        ({"state": ended(137, reason="ContainerStatusUnknown"), "restartCount": 2}, 0),
        ({"state": {"terminated": {"exitCode": 139}}, "restartCount": 2}, 0),  # the time is unknown
        ({"state": ended(began="1970-01-01T00:00:00Z"), "restartCount": 2}, 0),  # the engine never ran
        ({"state": WAITING, "lastState": ended(began=BEFORE, over=EARLIER), "restartCount": 2}, 0),  # another sandbox
        ({"state": ended(), "lastState": ended(began=BEFORE, over=EARLIER), "restartCount": 0}, 1),
        ({"state": WAITING, "lastState": ended(0), "restartCount": 2}, 0),
        ({}, 0),
    ],
)
def test_what_counts_as_a_crash(engine: dict[str, Any], times: int) -> None:
    found = crashes([serving_pod("a", MANIFEST, engine)])
    assert sum(crash.times for crash in found) == times


@pytest.mark.parametrize("restarts", [0, 1, 5])
def test_a_replica_that_was_ready_since_its_bundle_was_installed_blames_nothing(restarts: int) -> None:
    """Its container restarted, and status no longer shows the duration of the previous run."""
    crashed = {"state": WAITING, "lastState": ended(over=HOUR_LATER), "restartCount": restarts}
    assert crashes([serving_pod("a", MANIFEST, crashed)])
    assert crashes([serving_pod("a", MANIFEST, crashed, ready_until="2026-01-01T10:09:00Z")]) == []


@pytest.mark.parametrize("kind", ["Ready", "ContainersReady"])
def test_one_condition_that_moved_since_is_enough_to_blame_nothing(kind: str) -> None:
    """Ready also depends on readiness gates and ContainersReady on sidecars, so either may be the one that moved."""
    pod = serving_pod("a", MANIFEST, {"state": ended()})
    [moved] = [condition for condition in pod["status"]["conditions"] if condition["type"] == kind]
    moved["lastTransitionTime"] = "2026-01-01T10:00:01Z"
    assert crashes([pod]) == []
    moved["status"], moved["lastTransitionTime"] = "True", BEFORE
    assert crashes([pod]) == []


def test_without_conditions_nothing_is_known_and_nothing_blamed() -> None:
    pod = serving_pod("a", MANIFEST, {"state": ended()})
    del pod["status"]["conditions"]
    assert crashes([pod]) == []


def test_restarts_before_the_bundle_was_installed_again_are_not_counted() -> None:
    pod = serving_pod("a", MANIFEST, {"state": WAITING, "lastState": ended(), "restartCount": 3})
    pod["status"]["initContainerStatuses"][0]["restartCount"] = 1  # the pod's sandbox was recreated
    assert [crash.times for crash in crashes([pod])] == [1]


@pytest.mark.parametrize(
    "ending",
    [
        {"metadata": {"name": "a", "uid": "u", "deletionTimestamp": SOON}},
        {"status": {"phase": "Failed"}},
        {"status": {"reason": "Evicted"}},
        {"conditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ],
)
def test_replicas_that_somebody_ends_blame_nothing(ending: dict[str, Any]) -> None:
    pod = serving_pod("a", MANIFEST, {"state": ended(), "restartCount": 3})
    assert crashes([pod])
    pod["metadata"] = ending.get("metadata", pod["metadata"])
    pod["status"] |= ending.get("status", {})
    pod["status"]["conditions"] += ending.get("conditions", [])
    assert crashes([pod]) == []


@pytest.mark.parametrize(
    ("engine", "times"),
    [
        ({"state": {"running": {}}, "lastState": ended(), "restartCount": 1}, 1),
        ({"state": ended(143, "2026-01-01T10:02:20Z"), "lastState": ended(), "restartCount": 1}, 1),
        ({"state": ended(1, "2026-01-01T10:02:00Z"), "restartCount": 0}, 0),  # perhaps because of the deletion
        ({"state": {"terminated": {"exitCode": 139}}}, 0),  # the time is unknown
    ],
)
def test_a_replica_that_was_deleted_after_its_crash_is_evidence(engine: dict[str, Any], times: int) -> None:
    """A LeaderWorkerSet deletes a pod when one of its containers has restarted."""
    pod = serving_pod("a", MANIFEST, engine)
    pod["metadata"] |= {"deletionTimestamp": "2026-01-01T10:02:30Z", "deletionGracePeriodSeconds": 30}
    assert sum(crash.times for crash in crashes([pod])) == times


def test_only_replicas_with_a_bundle_or_kept_from_one_count() -> None:
    crashed = {"state": ended(), "restartCount": 1}
    assert crashes([serving_pod("a", "", crashed)]) == []
    assert (
        crashes([serving_pod("a", "", crashed, cold="Quarantined")]) == []
    )  # an older init container reports no manifest
    assert crashes([serving_pod("a", MANIFEST, crashed, cold="DigestMismatch")]) == []
    [warm], [cold] = (crashes([serving_pod("a", MANIFEST, crashed, cold=why)]) for why in ("NoManifest", "Quarantined"))
    assert (warm.cold, cold.cold, warm.manifest, cold.manifest) == (False, True, MANIFEST, MANIFEST)


OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79.11 GiB"
KERNEL = "(EngineCore pid=7) RuntimeError: Triton Error [CUDA]: an illegal memory access at 0x7f12"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ended(), ended(), True),
        (ended(139), ended(134), False),
        (ended(1, message=OOM), ended(1, message=KERNEL), False),
        (ended(1, message=OOM), ended(1, message=f"INFO\n{OOM}\nbye".replace("2.00", "512.5")), True),
        (ended(1, message=KERNEL), ended(1, message=KERNEL.replace("pid=7", "pid=91").replace("7f12", "5aaa")), True),
        (ended(1, message="OSError: [Errno 2] /a/b"), ended(1, message="OSError: [Errno 2] /a/c/d"), True),
        (ended(1, message="it stopped"), ended(1, message="it stopped again"), True),
        (ended(1, message="terrors"), ended(1), True),
    ],
)
def test_failures_are_equal_where_only_numbers_paths_and_addresses_differ(
    one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    [first, second] = crashes([serving_pod(name, MANIFEST, {"state": s}) for name, s in (("a", one), ("b", other))])
    assert (first.failure == second.failure) == same


def test_a_failure_repeats_nothing_of_the_engines_log() -> None:
    state = ended(1, message="ValueError: the hub refused s3cr3t")
    [crash] = crashes([serving_pod("a", MANIFEST, {"state": state})])
    assert "s3cr3t" not in repr(crash)
