from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from support.objects import NOW, inference_deployment, manifest, proof, spec_of
from tunecast_cache.errors import DigestMismatchError, StoreUnavailableError, TunecastError
from tunecast_cache.job import Progress, RankResult
from tunecast_cache.manifest import Proof, Provenance
from tunecast_operator import times
from tunecast_operator.api.kernel_cache import KernelCacheSpec
from tunecast_operator.conditions import OVERDUE, Condition
from tunecast_operator.identity import cache_spec, key_of
from tunecast_operator.plan.crashes import Crash
from tunecast_operator.plan.kernel_cache import backoff_seconds, decide, not_done
from tunecast_operator.plan.tuning import (  # fmt: skip
    CleanUpAttempt,
    CreateAttempt,
    DeleteCache,
    DeleteJob,
    DeleteService,
    Observed,
    Plan,
    Publish,
    Published,
    RenewSettings,
)

OWNER = inference_deployment(tuning={"ranks": 2, "attempts": 2, "queueTimeout": "10m", "timeout": "60m"})
KEY = key_of(spec_of(OWNER), 1)
SPEC = KernelCacheSpec.model_validate(cache_spec(spec_of(OWNER), KEY, 1))
RESULT = RankResult(0, succeeded=True, reason="Proved", message="", proof=proof())


def seen(status: dict[str, Any] | None = None, **changes: Any) -> Observed:
    cache = {
        "apiVersion": "tunecast.io/v1alpha1",
        "kind": "KernelCache",
        "metadata": {"name": "kc", "namespace": "models", "uid": "kc-uid", "generation": 1},
        "status": status or {},
    }
    return replace(Observed(cache, SPEC, ["qwen3"], NOW), **changes)


def job(attempt: int = 1, end: str = "", **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": end, "status": "True"}] if end else []
    labels = {"tunecast.io/attempt": str(attempt)}
    return {
        "metadata": {"name": f"kc-{attempt}", "uid": "job-uid", "labels": labels, **metadata},
        "status": {"conditions": conditions},
    }


def pod(state: str = "running", phase: str = "Running", **status: Any) -> dict[str, Any]:
    statuses = [{"name": "engine", "state": {state: {}}}]
    return {"metadata": {"name": "kc-1-0-x"}, "status": {"phase": phase, "containerStatuses": statuses, **status}}


RUNNING = [pod(), pod()]
WAITING = pod(
    "waiting",
    "Pending",
    conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}],
)


NEVER_BEGAN = (CleanUpAttempt(1), DeleteService())  # what an attempt left that never got as far as its Job


def ready(plan: Plan) -> Condition:
    return plan.conditions[0]


UNDER_WAY = {
    "state": "Tuning",
    "attempt": 1,
    "job": "kc-1",
    "startedAt": times.text(NOW),
    "settingsRenewedAt": times.text(NOW),
}


def test_a_bundle_in_the_store_needs_no_job() -> None:
    plan = decide(seen(published=Published(manifest(KEY), "d" * 64, "s")))
    assert plan.actions == NEVER_BEGAN
    assert decide(seen(plan.status, published=Published(manifest(KEY), "d" * 64, "s"))).actions == ()
    assert ready(plan).status == "True"
    assert plan.status["state"] == "Ready"
    assert (plan.status["cold"], plan.status["warm"], plan.status["speedup"]) == ("60.0s", "20.0s", "3.0x")
    assert plan.status["size"] == "1.0 MiB"


def test_a_miss_begins_the_first_attempt() -> None:
    plan = decide(seen())
    assert plan.actions == (CreateAttempt(1),)
    assert plan.status["job"] == "kc-1"
    assert plan.status["queuedSince"] == times.text(NOW)


def test_nothing_begins_while_nobody_wants_it() -> None:
    plan = decide(seen({"state": "Pending"}, wanted_by=[]))
    assert plan.actions == NEVER_BEGAN
    assert decide(seen(plan.status, wanted_by=[])).actions == ()
    assert plan.status["unwantedSince"] == times.text(NOW)
    assert plan.requeue_seconds == 24 * 3600


def test_a_new_cache_is_given_time_to_be_referred_to() -> None:
    made = seen(wanted_by=[])
    made.cache["metadata"]["creationTimestamp"] = times.text(NOW - timedelta(seconds=1))
    assert (decide(made).conditions, decide(made).status) == ((), {})
    made.cache["metadata"]["creationTimestamp"] = times.text(NOW - timedelta(minutes=1))
    assert decide(made).status["unwantedSince"] == times.text(NOW)


def test_the_job_of_an_unwanted_cache_goes_at_once_and_is_cleaned_up_after_its_pods() -> None:
    running = seen(UNDER_WAY, wanted_by=[], job=job(), pods=RUNNING)
    assert decide(running).actions == (DeleteJob("kc-1", "job-uid"),)
    ending = seen(UNDER_WAY, wanted_by=[], pods=RUNNING)
    assert decide(ending).actions == ()
    gone = seen(UNDER_WAY, wanted_by=[])
    assert decide(gone).actions == (CleanUpAttempt(1), DeleteService())


def test_an_unwanted_cache_goes_after_a_day() -> None:
    since = times.text(NOW - timedelta(days=1, seconds=1))
    assert DeleteCache() in decide(seen({"unwantedSince": since, "state": "Failed"}, wanted_by=[])).actions


def test_a_cache_wanted_again_forgets_that_it_was_not() -> None:
    plan = decide(seen({"unwantedSince": times.text(NOW), "state": "Failed"}))
    assert "unwantedSince" not in plan.status


def test_a_job_that_exists_though_status_was_never_written_is_found_again() -> None:
    plan = decide(seen(job=job(), pods=RUNNING))
    assert plan.actions == (RenewSettings(1),) or plan.actions == ()
    assert plan.status["attempt"] == 1
    assert plan.status["state"] == "Tuning"


def test_progress_is_shown() -> None:
    plan = decide(seen(UNDER_WAY, job=job(), pods=RUNNING, progress=Progress("ColdStart", 12.0)))
    assert plan.status["progress"] == {"stage": "ColdStart", "seconds": 12, "bytes": 0}


def test_urls_are_renewed_within_their_life() -> None:
    old = {**UNDER_WAY, "settingsRenewedAt": times.text(NOW - timedelta(hours=2))}
    assert decide(seen({**old}, job=job(), pods=RUNNING)).actions == (RenewSettings(1),)


def test_success_publishes_and_looks_again_at_once() -> None:
    plan = decide(seen(UNDER_WAY, job=job(end="Complete"), results={0: RESULT}))
    assert plan.actions == (Publish(1, RESULT),)
    assert (plan.status["state"], plan.requeue_seconds) == ("Publishing", 0.0)


def test_what_is_published_names_rank_0s_image_by_digest() -> None:
    made = replace(RESULT, provenance=Provenance("3.12"))
    ended = pod("terminated", "Succeeded")
    ended["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": "0"}
    ended["status"]["containerStatuses"][0]["imageID"] = "vllm@sha256:x"
    results = {0: made, 1: RankResult(1, succeeded=True, reason="Proved", message="")}
    plan = decide(seen(UNDER_WAY, job=job(end="Complete"), pods=[ended], results=results))
    [publish] = plan.actions
    assert isinstance(publish, Publish)
    assert publish.result.provenance == Provenance("3.12", image_id="vllm@sha256:x")


def test_published_after_an_attempt_cleans_up() -> None:
    plan = decide(seen(UNDER_WAY, job=job(end="Complete"), published=Published(manifest(KEY), "d", "s")))
    assert CleanUpAttempt(1) in plan.actions
    assert "job" not in plan.status


def without_layers(reason: str) -> Proof:
    """Of an attempt that left no archive."""
    found = proof(verdict="Miss")
    return replace(found, reason=reason, ranks=tuple(replace(rank, layers=()) for rank in found.ranks))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (proof(cold=10, warm=11), "the warm start took 11.0s, the cold one 10.0s"),
        (proof(verdict="Miss", reason="load failure"), "TorchCompile: load failure"),
        (without_layers("engines run its default tactics"), "engines run its default tactics: replicas start cold"),
        (without_layers(""), "the engine left no files: replicas start cold"),
    ],
)
def test_an_inert_bundle_is_never_published(bad: Any, words: str) -> None:
    plan = decide(seen(UNDER_WAY, job=job(end="Complete"), results={0: replace(RESULT, proof=bad)}))
    assert plan.actions == (CleanUpAttempt(1), DeleteService())
    assert plan.status["state"] == "Ineffective"
    assert words in ready(plan).message


def failed(reason: str, **status: Any) -> Plan:
    result = RankResult(1, succeeded=False, reason=reason, message="words")
    return decide(seen({**UNDER_WAY, **status}, job=job(end="Failed"), results={1: result}))


def test_a_bad_configuration_is_not_retried() -> None:
    plan = failed("EngineRejectedArguments")
    assert plan.status["state"] == "Failed"
    assert plan.conditions[2].status == "True", "Stalled"
    assert plan.actions == (CleanUpAttempt(1), DeleteService())


def test_a_crash_is_counted_and_retried_later() -> None:
    plan = failed("EngineCrashed")
    assert plan.actions == (CleanUpAttempt(1),)
    assert (plan.status["failures"], plan.status.get("disruptions", 0)) == (1, 0)
    assert plan.status["nextAttemptAt"] == times.text(NOW + timedelta(seconds=5))


def test_the_last_crash_ends_it() -> None:
    plan = failed("EngineCrashed", failures=1)
    assert (plan.status["state"], ready(plan).reason) == ("Failed", "AttemptsExhausted")


def test_a_disruption_is_not_counted_up_to_a_hard_cap() -> None:
    assert failed("PeerLost", failures=1).status["state"] == "Pending"
    assert failed("PeerLost", disruptions=9).status["state"] == "Failed"


def test_what_was_staged_and_can_not_be_published_counts_as_a_crash() -> None:
    error = DigestMismatchError("other bytes")
    plan = decide(seen(UNDER_WAY, job=job(end="Complete"), results={0: RESULT}, publish_error=error))
    assert plan.status["lastFailure"]["reason"] == "DigestMismatch"
    assert plan.status["failures"] == 1


def test_the_next_attempt_waits_for_its_time() -> None:
    later = {"attempt": 1, "failures": 1, "nextAttemptAt": times.text(NOW + timedelta(seconds=5))}
    assert decide(seen(later)).requeue_seconds == 5
    now = {**later, "nextAttemptAt": times.text(NOW)}
    assert decide(seen(now)).actions == (CreateAttempt(2),)


def test_a_job_that_somebody_deleted_is_a_disruption() -> None:
    plan = decide(seen(UNDER_WAY))
    assert plan.status["lastFailure"]["reason"] == "JobDeleted"
    assert plan.status["disruptions"] == 1


@pytest.mark.parametrize("pods", [[WAITING, WAITING], [pod(), WAITING]])
def test_no_capacity_for_all_ranks_lets_replicas_go_and_goes_on_waiting(pods: list[dict[str, Any]]) -> None:
    status = {**UNDER_WAY, "startedAt": None, "queuedSince": times.text(NOW - timedelta(minutes=1))}
    assert ready(decide(seen(status, job=job(), pods=pods))).reason == "Queued"
    status["queuedSince"] = times.text(NOW - timedelta(minutes=11))
    plan = decide(seen(status, job=job(), pods=pods))
    assert ready(plan).reason == "QueueTimeout"
    assert "0/1 nodes" in ready(plan).message
    assert not plan.actions


@pytest.mark.parametrize(("minutes", "reason"), [(1, "Queued"), (11, "QueueTimeout")])
def test_a_later_attempt_waits_anew(minutes: int, reason: str) -> None:
    early = times.text(NOW - timedelta(minutes=30))
    made = times.text(NOW - timedelta(minutes=minutes))
    status = {**UNDER_WAY, "attempt": 2, "queuedSince": early, "startedAt": early}
    assert ready(decide(seen(status, job=job(2, creationTimestamp=made), pods=[WAITING, WAITING]))).reason == reason


def test_an_image_that_can_not_be_pulled_is_said() -> None:
    waiting = {"name": "engine", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    stuck = {"metadata": {"name": "kc-1-0-x"}, "status": {"phase": "Pending", "containerStatuses": [waiting]}}
    plan = decide(seen({**UNDER_WAY, "startedAt": None, "queuedSince": times.text(NOW)}, job=job(), pods=[stuck]))
    assert ready(plan).reason == "PodsCannotStart"
    assert "no such image" in ready(plan).message


def test_too_long_ends_the_job_then_the_cache() -> None:
    late = {**UNDER_WAY, "startedAt": times.text(NOW - timedelta(minutes=61))}
    assert decide(seen(late, job=job(), pods=RUNNING)).actions == (DeleteJob("kc-1", "job-uid"),)
    plan = decide(seen(late))
    assert (plan.status["state"], ready(plan).reason) == ("Failed", "TimedOut")


def test_a_store_that_is_down_begins_nothing_and_loses_nothing() -> None:
    error = StoreUnavailableError("no answer")
    assert decide(seen(store_error=error)).actions == ()
    done = seen(UNDER_WAY, job=job(end="Complete"), store_error=error)
    assert (decide(done).actions, ready(decide(done)).reason) == ((), "StoreUnavailable")
    assert ready(decide(seen({"state": "Ready"}, store_error=error))).status == "True"


def test_deciding_twice_on_the_same_changes_nothing() -> None:
    first = decide(seen(UNDER_WAY, job=job(), pods=RUNNING))
    again = decide(seen({**first.status}, job=job(), pods=RUNNING))
    assert (again.status, again.conditions) == (first.status, first.conditions)


@pytest.mark.parametrize(("ends", "seconds"), [(1, 5), (2, 10), (3, 20), (20, 300)])
def test_backoff(ends: int, seconds: float) -> None:
    assert backoff_seconds(ends) == seconds


REJECTED = {0: RankResult(0, succeeded=False, reason="EngineRejectedArguments", message="words")}


@pytest.mark.parametrize(
    "changes",
    [
        {"job": job(end="Failed"), "results": REJECTED},
        {"job": job(end="Complete"), "published": Published(manifest(KEY), "d", "s")},
        {"job": job(end="Failed"), "wanted_by": []},
    ],
)
def test_an_attempt_that_status_never_knew_of_ends_once(changes: dict[str, Any]) -> None:
    """Its Job stays for an hour: it must not be taken for news again and again."""
    first = decide(seen({"state": "Pending"}, **changes))
    assert CleanUpAttempt(1) in first.actions
    again = decide(seen({**first.status, "conditions": []}, **changes))
    assert again.actions == ()
    assert again.status == first.status


@pytest.mark.parametrize("wanted_by", [["qwen3"], []])
def test_a_bundle_that_another_cache_published_ends_the_job_before_what_it_staged(wanted_by: list[str]) -> None:
    """Two caches of one key differ in ranks, say: nobody needs the slower one's Job, which holds GPUs."""
    elsewhere = Published(manifest(KEY), "d", "s")
    plan = decide(seen(UNDER_WAY, job=job(), pods=RUNNING, published=elsewhere, wanted_by=wanted_by))
    assert plan.actions == (DeleteJob("kc-1", "job-uid"),)
    assert (plan.status["state"], plan.status["job"], plan.requeue_seconds) == ("Ready", "kc-1", 2.0)
    plan = decide(seen(plan.status, published=elsewhere, wanted_by=wanted_by))
    assert plan.actions == (CleanUpAttempt(1), DeleteService())
    assert "job" not in plan.status


def test_a_bundle_that_is_gone_from_the_store_is_tuned_again_with_all_its_time() -> None:
    yesterday = times.text(NOW - timedelta(days=1))
    status = {"state": "Ready", "attempt": 2, "failures": 1, "queuedSince": yesterday, "startedAt": yesterday}
    plan = decide(seen({**status, "finishedAt": yesterday, "size": "1.0 MiB"}))
    assert plan.actions == (CreateAttempt(3),)
    assert plan.status["queuedSince"] == times.text(NOW)
    assert not plan.status.keys() & {"startedAt", "finishedAt", "failures", "size"}
    assert decide(seen(status, wanted_by=[])).status["state"] == "Pending"


@pytest.mark.parametrize("state", ["Failed", "Ineffective"])
def test_why_it_gave_up_is_kept_while_nobody_wants_it(state: str) -> None:
    why = {"type": "Ready", "status": "False", "reason": "AttemptsExhausted", "message": "words"}
    unwanted = decide(seen({"state": state, "attempt": 1, "conditions": [why]}, wanted_by=[]))
    assert (ready(unwanted).reason, ready(unwanted).message) == ("AttemptsExhausted", "words")
    assert (unwanted.status["state"], unwanted.status["unwantedSince"]) == (state, times.text(NOW))


LATE = {**UNDER_WAY, "startedAt": times.text(NOW - timedelta(minutes=61))}
DOWN = StoreUnavailableError("no answer")


def test_a_bundle_that_was_ready_before_its_time_was_over_is_published_after_it() -> None:
    plan = decide(seen(LATE, job=job(end="Complete"), results={0: RESULT}))
    assert plan.actions == (Publish(1, RESULT),)
    crashed = {0: RankResult(0, succeeded=False, reason="EngineCrashed", message="words")}
    plan = decide(seen(LATE, job=job(end="Failed"), results=crashed))
    assert (plan.status["state"], ready(plan).reason) == ("Failed", "TimedOut")


@pytest.mark.parametrize("changes", [{}, {"job": job(end="Complete")}])
def test_a_store_that_is_down_holds_no_replica_past_the_timeout(changes: dict[str, Any]) -> None:
    plan = decide(seen(LATE, store_error=DOWN, **changes))
    assert (plan.actions, plan.status["state"], plan.status["job"]) == ((), "Tuning", "kc-1")
    assert ready(plan).reason in OVERDUE
    assert "no answer" in ready(plan).message


def test_a_step_that_is_refused_holds_no_replica_for_ever() -> None:
    """A Job that an admission webhook rejects, or a sweep that isn't there."""
    error = TunecastError("denied")
    first = not_done(seen(), decide(seen()), error)
    assert (ready(first).reason, first.status["queuedSince"]) == ("Failed", times.text(NOW))
    assert not first.status.keys() & {"attempt", "job"}
    late = seen(first.status, now=NOW + timedelta(minutes=11))
    assert ready(not_done(late, decide(late), error)).reason == "QueueTimeout"


@pytest.mark.parametrize(
    ("changes", "state", "status"),
    [
        ({"job": job(end="Complete"), "published": Published(manifest(KEY), "d", "s")}, "Ready", "True"),
        ({"job": job(end="Failed"), "results": REJECTED}, "Failed", "False"),
    ],
)
def test_an_end_stands_though_its_remains_can_not_be_removed_and_they_are_later(
    changes: dict[str, Any], state: str, status: str
) -> None:
    before = seen(UNDER_WAY, **changes)
    kept = not_done(before, decide(before), DOWN)
    assert (kept.status["state"], kept.status["job"], ready(kept).status) == (state, "kc-1", status)
    conditions = [{"type": "Ready", "reason": ready(kept).reason, "message": ready(kept).message}]
    later = decide(seen({**kept.status, "conditions": conditions}, **changes))
    assert CleanUpAttempt(1) in later.actions
    assert (later.conditions, later.status.get("job")) == (kept.conditions, None)


TWICE = [Crash("qwen3-a", "uid", "digest", 2, 139)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crashes": TWICE}, "qwen3-a ended with 139, 2 times"),
        ({"quarantined": ("digest",)}, "the bundle of this key was quarantined"),
    ],
)
def test_a_bundle_that_engines_crash_from_is_quarantined_for_good(changes: dict[str, Any], words: str) -> None:
    published = Published(manifest(KEY), "digest", "signer")
    plan = decide(seen(published=published, **changes))
    assert plan.status["state"] == "Quarantined"
    assert plan.status["manifest"] == "digest"
    assert (ready(plan).reason, words in ready(plan).message, ready(plan).warning) == ("Quarantined", True, True)
    assert "Raise spec.tuning.generation" in ready(plan).message
    conditions = [
        {"type": c.type, "status": c.status, "reason": c.reason, "message": c.message} for c in plan.conditions
    ]
    later = decide(seen({**plan.status, "conditions": conditions}))
    assert (later.status["state"], ready(later).message) == ("Quarantined", ready(plan).message)
    assert later.actions == ()


@pytest.mark.parametrize("crash", [replace(TWICE[0], times=1), replace(TWICE[0], manifest="of another one")])
def test_one_crash_or_another_bundles_blames_nothing(crash: Crash) -> None:
    plan = decide(seen(published=Published(manifest(KEY), "digest", "signer"), crashes=[crash], quarantined=("other",)))
    assert plan.status["state"] == "Ready"


def test_an_attempt_that_status_never_knew_of_is_cleaned_up_only_after_its_pods() -> None:
    """What its ranks stage while they end would stay for ever."""
    plan = decide(seen({"state": "Pending"}, wanted_by=[], job=job(), pods=RUNNING))
    assert plan.actions == (DeleteJob("kc-1", "job-uid"),)
    assert (plan.status["attempt"], plan.status["job"]) == (1, "kc-1")
    assert decide(seen(plan.status, wanted_by=[], pods=RUNNING)).actions == ()
    assert decide(seen(plan.status, wanted_by=[])).actions == (CleanUpAttempt(1), DeleteService())
