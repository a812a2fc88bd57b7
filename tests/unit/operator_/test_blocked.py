"""Reasons why pods do not start or do not exist."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from support.objects import NOW
from support.observed import RUNNING, UNDER_WAY, job, pod, seen
from tunecast_operator import times
from tunecast_operator.conditions import Condition, ConditionType, Reason
from tunecast_operator.plan.blocked import blocked, refusal
from tunecast_operator.plan.startup_cache import decide

MISSING = 'Error creating: pods "kc-1-0-x" is forbidden: failed quota: q: must specify limits.cpu for: tunecast-tools'
EXCEEDED = 'Error creating: pods "kc-1-0-x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1'
EVICTED = {
    "reason": "Evicted",
    "message": "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.",
}
UNSCHEDULABLE = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no node has room"}]}


def event(reason: str, message: str, at: str) -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": at}


def test_the_newest_failure_to_create_a_pod_counts() -> None:
    events = [
        event("FailedCreate", EXCEEDED, "2026-11-28T10:00:00Z"),
        event("FailedCreate", MISSING, "2026-11-28T10:00:05Z"),
        event("SuccessfulCreate", "Created pod: kc-1-1-y", "2026-11-28T10:00:09Z"),
    ]
    assert refusal(events) == MISSING
    assert refusal(events[2:]) == ""


def ready(**changes: Any) -> Condition:
    plan = decide(seen({**UNDER_WAY, "startedAt": None}, job=job(), **changes))
    assert plan.actions == ()
    return next(found for found in plan.conditions if found.type == ConditionType.READY)


@pytest.mark.parametrize("pods", [[], RUNNING[:1]])
@pytest.mark.parametrize(("words", "reason"), [(MISSING, Reason.PODS_CANNOT_START), (EXCEEDED, Reason.QUEUED)])
def test_a_refusal_of_ranks_is_reported_and_only_temporary_ones_are_awaited(
    words: str, reason: str, pods: list[Any]
) -> None:
    found = ready(refusal=words, pods=pods)
    assert (found.reason, found.message) == (reason, f"PodsNotCreated: Job kc-1: {words}")


TROUBLE = (
    "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["initContainerStatuses", "containerStatuses"])
@pytest.mark.parametrize("reason", TROUBLE)
def test_what_keeps_a_container_from_starting_is_reported_with_the_kubelets_message(reason: str, kind: str) -> None:
    waiting = {"name": "engine", "state": {"waiting": {"reason": reason, "message": "words"}}}
    found = blocked([{"metadata": {"name": "p"}, "status": {kind: [waiting]}}], None, NOW)
    assert found is not None
    assert (found.reason, found.message, found.capacity) == (reason, "p, container engine: words", False)


def test_a_foreign_init_container_that_does_not_end_is_reported() -> None:
    running = {"name": "theirs", "state": {"running": {"startedAt": times.text(NOW - timedelta(minutes=4))}}}
    found = blocked([{"metadata": {"name": "p"}, "status": {"initContainerStatuses": [running]}}], None, NOW)
    assert found is not None
    assert (found.reason, "theirs" in found.message) == ("InitContainerRuns", True)


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_a_container_that_is_being_made_is_no_trouble(reason: str) -> None:
    waiting = {"name": "engine", "state": {"waiting": {"reason": reason}}}
    assert blocked([{"metadata": {"name": "p"}, "status": {"containerStatuses": [waiting]}}], None, NOW) is None


def test_a_job_that_a_queue_holds_is_waited_for() -> None:
    suspended = job()
    suspended["spec"]["suspend"] = True
    plan = decide(seen({**UNDER_WAY, "startedAt": None}, job=suspended))
    found = next(found for found in plan.conditions if found.type == ConditionType.READY)
    assert (found.reason, found.message.partition(":")[0]) == (Reason.QUEUED, "Suspended")


def test_an_eviction_is_named_where_nothing_else_keeps_pods_from_starting() -> None:
    evicted, waiting = pod(phase="Failed", **EVICTED), pod("waiting", "Pending", **UNSCHEDULABLE)
    found = blocked([evicted], None, NOW)
    assert found is not None
    assert (found.reason, found.message) == ("Evicted", f"kc-1-0-x: {EVICTED['message']}")
    found = blocked([evicted, waiting], None, NOW)
    assert found is not None
    assert found.reason == "Unschedulable"
