"""How attempts of a StartupCache begin, run, end and are retried."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from support.objects import NOW, manifest
from support.observed import (
    DOWN,
    KEY,
    LATE,
    REJECTED,
    RESULT,
    RUNNING,
    UNDER_WAY,
    WAITING,
    job,
    kept,
    last_failure,
    pod,
    ready,
    seen,
)
from tunecast_core.errors import DigestMismatchError, StoreUnavailableError, TunecastError
from tunecast_core.records.job import Progress, RankResult
from tunecast_core.records.manifest import Provenance
from tunecast_operator import times
from tunecast_operator.api.status import ProgressStatus
from tunecast_operator.conditions import OVERDUE
from tunecast_operator.plan.attempts import backoff_seconds
from tunecast_operator.plan.startup_cache import decide, not_done
from tunecast_operator.plan.tuning import (  # fmt: skip
    CleanUpAttempt,
    CreateAttempt,
    DeleteJob,
    DeleteService,
    Publish,
    Published,
    RenewSettings,
    TuningPlan,
)


def test_a_miss_begins_the_first_attempt() -> None:
    plan = decide(seen())
    assert plan.actions == (CreateAttempt(1),)
    assert plan.status.job == "kc-1"
    assert plan.status.queued_since == times.text(NOW)


def test_a_job_that_exists_though_status_was_never_written_is_found_again() -> None:
    plan = decide(seen(job=job(), pods=RUNNING))
    assert plan.actions == (RenewSettings(1),) or plan.actions == ()
    assert plan.status.attempt == 1
    assert plan.status.state == "Tuning"


def test_progress_is_shown() -> None:
    plan = decide(seen(UNDER_WAY, job=job(), pods=RUNNING, progress=Progress("ColdStart", 12.0)))
    assert plan.status.progress == ProgressStatus(stage="ColdStart", seconds=12, bytes=0)


def test_urls_are_renewed_within_their_life() -> None:
    due = {**UNDER_WAY, "settingsRenewAt": times.text(NOW)}
    assert decide(seen({**due}, job=job(), pods=RUNNING)).actions == (RenewSettings(1),)
    later = {**UNDER_WAY, "settingsRenewAt": times.text(NOW + timedelta(seconds=1))}
    assert decide(seen({**later}, job=job(), pods=RUNNING)).actions == ()
    unknown = {name: value for name, value in UNDER_WAY.items() if name != "settingsRenewAt"}
    assert decide(seen(unknown, job=job(), pods=RUNNING)).actions == (RenewSettings(1),)


def test_success_publishes_and_looks_again_at_once() -> None:
    plan = decide(seen(UNDER_WAY, job=job(end="Complete"), results={0: RESULT}))
    assert plan.actions == (Publish(1, RESULT),)
    assert (plan.status.state, plan.requeue_seconds) == ("Publishing", 0.0)


def test_what_is_published_of_an_attempt_that_status_never_knew_of_is_cleaned_up_after_it() -> None:
    """The operator ended between creating the Job and writing status, and the Job finished before its successor ran."""
    known = {**UNDER_WAY, "job": "", "state": "Pending"}
    ended = {"job": job(2, end="Complete"), "results": {0: RESULT}}
    publishing = decide(seen(known, **ended))
    assert publishing.actions == (Publish(2, RESULT),)
    done = decide(seen(publishing.status, published=Published(manifest(KEY), "d", "s"), **ended))
    assert done.actions == (CleanUpAttempt(2), DeleteService())


def test_what_is_published_names_rank_0s_image_by_digest() -> None:
    made = replace(RESULT, provenance=Provenance("3.12"))
    ended = pod("terminated", "Succeeded")
    ended["metadata"]["annotations"] |= {"batch.kubernetes.io/job-completion-index": "0"}
    ended["status"]["containerStatuses"][0]["imageID"] = "vllm@sha256:x"
    results = {0: made, 1: RankResult(1, succeeded=True, reason="Proved", message="")}
    plan = decide(seen(UNDER_WAY, job=job(end="Complete"), pods=[ended], results=results))
    [publish] = plan.actions
    assert isinstance(publish, Publish)
    assert publish.result.provenance == Provenance("3.12", image_id="vllm@sha256:x")


def test_published_after_an_attempt_cleans_up() -> None:
    plan = decide(seen(UNDER_WAY, job=job(end="Complete"), published=Published(manifest(KEY), "d", "s")))
    assert CleanUpAttempt(1) in plan.actions
    assert plan.status.job is None


def failed(reason: str, **status: Any) -> TuningPlan:
    result = RankResult(1, succeeded=False, reason=reason, message="words")
    return decide(seen({**UNDER_WAY, **status}, job=job(end="Failed"), results={1: result}))


def test_a_bad_configuration_is_not_retried() -> None:
    plan = failed("EngineRejectedArguments")
    assert plan.status.state == "Failed"
    assert plan.conditions[2].status == "True", "Stalled"
    assert plan.actions == (CleanUpAttempt(1), DeleteService())


def test_a_crash_is_counted_and_retried_later() -> None:
    plan = failed("EngineCrashed")
    assert plan.actions == (CleanUpAttempt(1),)
    assert (plan.status.failures, plan.status.disruptions) == (1, None)
    assert plan.status.next_attempt_at == times.text(NOW + timedelta(seconds=5))


def test_the_last_crash_ends_it() -> None:
    plan = failed("EngineCrashed", failures=1)
    assert (plan.status.state, ready(plan).reason) == ("Failed", "AttemptsExhausted")


def test_a_disruption_is_not_counted_up_to_a_hard_cap() -> None:
    assert failed("PeerLost", failures=1).status.state == "Pending"
    last = failed("PeerLost", disruptions=9)
    assert (last.status.state, ready(last).reason) == ("Failed", "TooManyDisruptions")


def test_what_was_staged_and_can_not_be_published_counts_as_a_crash() -> None:
    error = DigestMismatchError("other bytes")
    plan = decide(seen(UNDER_WAY, job=job(end="Complete"), results={0: RESULT}, publish_error=error))
    assert last_failure(plan) == "DigestMismatch"
    assert plan.status.failures == 1


def test_the_next_attempt_waits_for_its_time() -> None:
    later = {"attempt": 1, "failures": 1, "nextAttemptAt": times.text(NOW + timedelta(seconds=5))}
    assert decide(seen(later)).requeue_seconds == 5
    now = {**later, "nextAttemptAt": times.text(NOW)}
    assert decide(seen(now)).actions == (CreateAttempt(2),)


def test_a_job_that_somebody_deleted_is_a_disruption() -> None:
    plan = decide(seen(UNDER_WAY))
    assert last_failure(plan) == "JobDeleted"
    assert plan.status.disruptions == 1


@pytest.mark.parametrize("pods", [[WAITING, WAITING], [pod(), WAITING]])
def test_without_capacity_for_all_ranks_replicas_start_and_tuning_waits(pods: list[dict[str, Any]]) -> None:
    status = {**UNDER_WAY, "startedAt": None, "queuedSince": times.text(NOW - timedelta(minutes=1))}
    assert ready(decide(seen(status, job=job(), pods=pods))).reason == "Queued"
    status["queuedSince"] = times.text(NOW - timedelta(minutes=11))
    plan = decide(seen(status, job=job(), pods=pods))
    assert ready(plan).reason == "QueueTimeout"
    assert "0/1 nodes" in ready(plan).message
    assert not plan.actions


@pytest.mark.parametrize(("minutes", "reason"), [(1, "Queued"), (11, "QueueTimeout")])
def test_each_attempt_has_its_own_queue_timeout(minutes: int, reason: str) -> None:
    early = times.text(NOW - timedelta(minutes=30))
    made = times.text(NOW - timedelta(minutes=minutes))
    status = {**UNDER_WAY, "attempt": 2, "queuedSince": early, "startedAt": early}
    assert ready(decide(seen(status, job=job(2, creationTimestamp=made), pods=[WAITING, WAITING]))).reason == reason


def test_an_image_that_cannot_be_pulled_is_reported() -> None:
    waiting = {"name": "engine", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    stuck = {"metadata": {"name": "kc-1-0-x"}, "status": {"phase": "Pending", "containerStatuses": [waiting]}}
    plan = decide(seen({**UNDER_WAY, "startedAt": None, "queuedSince": times.text(NOW)}, job=job(), pods=[stuck]))
    assert ready(plan).reason == "PodsCannotStart"
    assert "no such image" in ready(plan).message


def test_too_long_ends_the_job_then_the_cache() -> None:
    late = {**UNDER_WAY, "startedAt": times.text(NOW - timedelta(minutes=61))}
    assert decide(seen(late, job=job(), pods=RUNNING)).actions == (DeleteJob("kc-1", "job-uid"),)
    plan = decide(seen(late))
    assert (plan.status.state, ready(plan).reason) == ("Failed", "TimedOut")
    assert kept(plan)["lastFailure"].items() >= {"reason": "TimedOut", "attempt": 1}.items()
    between = {"state": "Pending", "attempt": 1, "startedAt": late["startedAt"]}
    assert decide(seen(between)).status.last_failure is None, "no attempt was under way"


def test_a_store_that_is_down_begins_nothing_and_loses_nothing() -> None:
    error = StoreUnavailableError("no answer")
    assert decide(seen(store_error=error)).actions == ()
    done = seen(UNDER_WAY, job=job(end="Complete"), store_error=error)
    assert (decide(done).actions, ready(decide(done)).reason) == ((), "StoreUnavailable")
    assert ready(decide(seen({"state": "Ready"}, store_error=error))).status == "True"


def test_deciding_twice_on_the_same_changes_nothing() -> None:
    first = decide(seen(UNDER_WAY, job=job(), pods=RUNNING))
    again = decide(seen(kept(first), job=job(), pods=RUNNING))
    assert kept(again) == kept(first)


@pytest.mark.parametrize(("ends", "seconds"), [(1, 5), (2, 10), (3, 20), (20, 300)])
def test_backoff(ends: int, seconds: float) -> None:
    assert backoff_seconds(ends) == seconds


@pytest.mark.parametrize(
    "changes",
    [
        {"job": job(end="Failed"), "results": REJECTED},
        {"job": job(end="Complete"), "published": Published(manifest(KEY), "d", "s")},
        {"job": job(end="Failed"), "wanted_by": []},
    ],
)
def test_an_attempt_that_status_never_knew_of_ends_once(changes: dict[str, Any]) -> None:
    """Its Job stays for an hour and must be counted only once."""
    first = decide(seen({"state": "Pending"}, **changes))
    assert CleanUpAttempt(1) in first.actions
    again = decide(seen({**kept(first), "conditions": []}, **changes))
    assert again.actions == ()
    assert again.status == first.status


def test_a_bundle_that_was_ready_before_its_time_was_over_is_published_after_it() -> None:
    plan = decide(seen(LATE, job=job(end="Complete"), results={0: RESULT}))
    assert plan.actions == (Publish(1, RESULT),)
    crashed = {0: RankResult(0, succeeded=False, reason="EngineCrashed", message="words")}
    plan = decide(seen(LATE, job=job(end="Failed"), results=crashed))
    assert (plan.status.state, ready(plan).reason) == ("Failed", "TimedOut")


@pytest.mark.parametrize("changes", [{}, {"job": job(end="Complete")}])
def test_a_store_that_is_down_holds_no_replica_past_the_timeout(changes: dict[str, Any]) -> None:
    plan = decide(seen(LATE, store_error=DOWN, **changes))
    assert (plan.actions, plan.status.state, plan.status.job) == ((), "Tuning", "kc-1")
    assert ready(plan).reason in OVERDUE
    assert "no answer" in ready(plan).message


def test_a_step_that_is_refused_holds_no_replica_for_ever() -> None:
    """Examples are a Job that an admission webhook rejects, and a missing sweep."""
    error = TunecastError("denied")
    first = not_done(seen(), decide(seen()), error)
    assert (ready(first).reason, first.status.queued_since) == ("Failed", times.text(NOW))
    assert (first.status.attempt, first.status.job) == (None, None)
    late = seen(first.status, now=NOW + timedelta(minutes=11))
    assert ready(not_done(late, decide(late), error)).reason == "QueueTimeout"


def test_an_attempt_that_status_never_knew_of_is_cleaned_up_only_after_its_pods() -> None:
    """Otherwise objects that its ranks stage while they end would stay forever."""
    plan = decide(seen({"state": "Pending"}, wanted_by=[], job=job(), pods=RUNNING))
    assert plan.actions == (DeleteJob("kc-1", "job-uid"),)
    assert (plan.status.attempt, plan.status.job) == (1, "kc-1")
    assert decide(seen(plan.status, wanted_by=[], pods=RUNNING)).actions == ()
    assert decide(seen(plan.status, wanted_by=[])).actions == (CleanUpAttempt(1), DeleteService())
