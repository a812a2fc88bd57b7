"""Attempts that release their GPUs: their pods do not end, or their ranks never all run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from support.objects import NOW, manifest
from support.observed import KEY, RESULT, UNDER_WAY, job, last_failure, ready, seen
from tunecast_core.records.job import Progress, RankResult
from tunecast_operator import times
from tunecast_operator.api.status import StartupCacheStatus
from tunecast_operator.plan.rivals import Rival
from tunecast_operator.plan.startup_cache import decide
from tunecast_operator.plan.tuning import CleanUpAttempt, CreateAttempt, DeleteJob, DeleteService, Publish, Published

SIDECAR = {"name": "istio-proxy", "state": {"running": {}}}
QUEUED = {k: v for k, v in UNDER_WAY.items() if k != "startedAt"} | {"state": "Pending"}
QUEUED["queuedSince"] = times.text(NOW - timedelta(minutes=11))
EARLIER, OLD = times.text(NOW - timedelta(minutes=6)), times.text(NOW - timedelta(minutes=11))
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU is left"}
DELETE = DeleteJob("kc-1", "job-uid")


def rank(number: int, state: dict[str, Any], *, bound: str = EARLIER, **status: Any) -> dict[str, Any]:
    statuses = [{"name": "engine", "state": state}, SIDECAR]
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": bound}
    return {
        "metadata": {
            "name": f"kc-1-{number}",
            "annotations": {
                "batch.kubernetes.io/job-completion-index": str(number),
                "tunecast.io/container": "engine",
            },
        },
        "spec": {"nodeName": "gpu-0"},
        "status": {"phase": "Running", "containerStatuses": statuses, "conditions": [scheduled], **status},
    }


def ended(number: int, code: int = 0, **status: Any) -> dict[str, Any]:
    return rank(number, {"terminated": {"exitCode": code, "reason": "x"}}, **status)


def running(number: int, since: str = EARLIER) -> dict[str, Any]:
    return rank(number, {"running": {"startedAt": since}}, bound=since)


def creating(number: int, since: str = EARLIER, **status: Any) -> dict[str, Any]:
    return rank(number, {"waiting": {"reason": "ContainerCreating"}}, bound=since, phase="Pending", **status)


def pending(number: int) -> dict[str, Any]:
    return {**rank(number, {}, phase="Pending", conditions=[UNSCHEDULABLE], containerStatuses=[]), "spec": {}}


# --- sidecars ---------------------------------------------------------------------------------------------------------


def test_an_attempt_ends_with_its_engines_though_sidecars_go_on() -> None:
    plan = decide(seen(UNDER_WAY, job=job(), pods=[ended(0), ended(1)], results={0: RESULT}))
    assert plan.actions == (Publish(1, RESULT),)


def test_a_published_attempt_whose_sidecars_go_on_releases_its_gpus() -> None:
    published = Published(manifest(KEY), "d", "s")
    plan = decide(seen(UNDER_WAY, job=job(), pods=[ended(0), ended(1)], published=published))
    assert plan.actions == (DELETE, CleanUpAttempt(1), DeleteService())


@pytest.mark.parametrize(
    "others",
    [
        [],
        [{"name": "istio-proxy", "state": {"terminated": {"exitCode": 0}}}],
    ],
    ids=["that has no sidecar", "whose sidecar ended too"],
)
def test_the_job_of_a_pod_whose_phase_is_still_to_come_is_left_to_finish(others: list[dict[str, Any]]) -> None:
    """A kubelet reports terminated containers before the phase; the finished Job stays for its logs."""
    engine = {"name": "engine", "state": {"terminated": {"exitCode": 0}}}
    native = [{"name": "linkerd-proxy", "started": True, "state": {"running": {"startedAt": EARLIER}}}]
    status: dict[str, Any] = {"containerStatuses": [engine, *others], "initContainerStatuses": native}
    pods = [rank(number, {}, **status) for number in (0, 1)]
    for pod in pods:
        pod["spec"]["initContainers"] = [{"name": "linkerd-proxy", "restartPolicy": "Always"}]
    assert decide(seen(UNDER_WAY, job=job(), pods=pods, results={0: RESULT})).actions == ()


def test_an_attempt_goes_on_while_one_engine_runs() -> None:
    plan = decide(seen(UNDER_WAY, job=job(), pods=[ended(0), running(1)], results={0: RESULT}))
    assert (plan.status.state, plan.actions) == ("Tuning", ())


def test_a_rank_that_never_started_is_not_waited_for_once_another_failed_beside_its_sidecar() -> None:
    reported = {0: RankResult(0, succeeded=False, reason="JoinTimedOut", message="rank 1 did not join")}
    plan = decide(seen(QUEUED, job=job(), pods=[ended(0, 1), creating(1)], results=reported))
    assert plan.actions == (DELETE, CleanUpAttempt(1))
    assert (last_failure(plan), plan.status.requeues) == ("RanksNotScheduled", 1)


def test_a_failed_engine_beside_a_living_sidecar_is_retried_without_its_job() -> None:
    reported = {1: RankResult(1, succeeded=False, reason="EngineCrashed", message="boom")}
    plan = decide(seen(UNDER_WAY, job=job(), pods=[ended(0, 1), ended(1, 1)], results=reported))
    assert plan.actions == (DELETE, CleanUpAttempt(1))
    assert (plan.status.failures, last_failure(plan)) == (1, "EngineCrashed")


def test_a_sidecar_that_fails_after_the_engine_succeeded_spoils_nothing() -> None:
    plan = decide(seen(UNDER_WAY, job=job(end="Failed"), pods=[ended(0), ended(1)], results={0: RESULT}))
    assert plan.actions == (Publish(1, RESULT),)


# --- partial gangs ----------------------------------------------------------------------------------------------------


def test_a_job_that_has_not_all_its_ranks_in_time_gives_its_gpus_back() -> None:
    plan = decide(seen(QUEUED, job=job(creationTimestamp=OLD), pods=[running(0, OLD), pending(1)]))
    assert plan.actions == (DELETE,)
    assert "only 1 of 2 ranks ran within 10m" in ready(plan).message
    assert "no GPU is left" in ready(plan).message


def test_it_is_queued_again_and_counted_as_neither_a_crash_nor_a_disruption() -> None:
    deleted = decide(seen(QUEUED, job=job(creationTimestamp=OLD), pods=[running(0, OLD), pending(1)]))
    plan = decide(seen(deleted.status))
    assert plan.actions == (CleanUpAttempt(1),)
    assert (plan.status.failures, plan.status.disruptions, plan.status.requeues) == (None, None, 1)
    assert plan.status.next_attempt_at == times.text(NOW + timedelta(seconds=40))
    assert ready(plan).reason == "QueueTimeout", "replicas may start"
    due = plan.status | StartupCacheStatus(next_attempt_at=times.text(NOW))
    again = decide(seen(due))
    assert again.actions == (CreateAttempt(2),)
    assert ready(again).reason == "QueueTimeout"


HOUR = times.text(NOW - timedelta(minutes=61))
INJECTED = {"name": "vault-agent-init", "state": {"running": {"startedAt": OLD}}}


@pytest.mark.parametrize(
    "pods",
    [
        [running(0, OLD)],
        [running(0, OLD), creating(1, OLD, initContainerStatuses=[INJECTED])],
        [creating(0, OLD, initContainerStatuses=[INJECTED]), pending(1)],
        [creating(0, HOUR), creating(1, HOUR)],
    ],
    ids=["a pod is not created", "an init container never ends", "no rank runs, but one holds a node", "no volume"],
)
def test_ranks_that_hold_a_node_for_nothing_give_it_back(pods: list[dict[str, Any]]) -> None:
    assert decide(seen(QUEUED, job=job(creationTimestamp=HOUR), pods=pods)).actions == (DELETE,)


@pytest.mark.parametrize(
    ("created", "pods"),
    [
        (EARLIER, [running(0), pending(1)]),
        (OLD, [pending(0), pending(1)]),
        (HOUR, [running(0), pending(1)]),
        (OLD, [running(0, OLD), creating(1, OLD)]),
    ],
    ids=["within the time", "that holds nothing", "whose first node came late", "that pulls an image"],
)
def test_a_job_goes_on_waiting(created: str, pods: list[dict[str, Any]]) -> None:
    assert DELETE not in decide(seen(QUEUED, job=job(creationTimestamp=created), pods=pods)).actions


def test_an_injected_init_container_that_never_ends_is_named() -> None:
    pods = [running(0), creating(1, initContainerStatuses=[INJECTED])]
    plan = decide(seen(QUEUED, job=job(creationTimestamp=EARLIER), pods=pods, now=NOW - timedelta(minutes=2)))
    assert ready(plan).reason == "PodsCannotStart"
    assert "kc-1-1, init container vault-agent-init, which Tunecast did not add" in ready(plan).message


def test_a_quota_that_allows_some_ranks_is_named() -> None:
    plan = decide(seen(QUEUED | {"queuedSince": EARLIER}, job=job(creationTimestamp=EARLIER), pods=[running(0)]))
    assert (ready(plan).reason, "1 of 2 pods exist" in ready(plan).message) == ("Queued", True)


# --- ranks that do not find each other --------------------------------------------------------------------------------


def test_ranks_that_all_run_and_do_not_join_name_the_network() -> None:
    joining = Progress("Joining", 900.0)
    plan = decide(seen(UNDER_WAY, job=job(), pods=[running(0, OLD), running(1)], progress=joining))
    assert plan.actions == (DELETE,)
    assert "NetworkPolicy" in ready(plan).message
    counted = decide(seen(plan.status))
    assert (counted.status.failures, last_failure(counted)) == (1, "JoinTimedOut")


@pytest.mark.parametrize(
    ("stage", "since"), [("Joining", times.text(NOW - timedelta(minutes=4))), ("ColdStart", EARLIER)]
)
def test_ranks_have_time_to_join(stage: Any, since: str) -> None:
    plan = decide(
        seen(UNDER_WAY, job=job(), pods=[running(0, OLD), running(1, since)], progress=Progress(stage, 900.0))
    )
    assert plan.actions == ()


@pytest.mark.parametrize(
    ("pods", "reason", "count"),
    [([ended(0, 1), ended(1, 1)], "JoinTimedOut", "failures"), ([ended(0, 1)], "RanksNotScheduled", "requeues")],
    ids=["that all ran", "that did not all run"],
)
def test_ranks_that_gave_up_joining(pods: list[dict[str, Any]], reason: str, count: str) -> None:
    reported = {0: RankResult(0, succeeded=False, reason="JoinTimedOut", message="rank 1 did not join")}
    plan = decide(seen(UNDER_WAY, job=job(end="Failed"), pods=pods, results=reported))
    assert (last_failure(plan), getattr(plan.status, count)) == (reason, 1)


# --- one key, several StartupCaches -----------------------------------------------------------------------------------


def test_a_key_that_another_startup_cache_tunes_waits_for_it() -> None:
    plan = decide(seen(rival=Rival("kc-older", runs=False)))
    assert plan.actions == ()
    assert ready(plan).reason == "Queued"
    assert "kc-older" in ready(plan).message
    assert plan.requeue_seconds


def test_the_time_behind_ranks_that_run_is_no_time_in_the_queue() -> None:
    """Its replicas wait for that bundle; if its tuning fails, the queue timeout of this cache starts from zero."""
    late = {"queuedSince": OLD}
    assert ready(decide(seen(late, rival=Rival("kc-older", runs=False)))).reason == "QueueTimeout"
    behind = decide(seen(late, rival=Rival("kc-older", runs=True)))
    assert ready(behind).reason == "Queued"
    begun = decide(seen(behind.status))
    assert (begun.actions, begun.status.queued_since) == ((CreateAttempt(1),), times.text(NOW))
