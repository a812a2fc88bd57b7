"""The final states of a StartupCache."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from support.objects import NOW, manifest, proof
from support.observed import DOWN, KEY, NEVER_BEGAN, REJECTED, RESULT, RUNNING, UNDER_WAY, job, kept, ready, seen
from tunecast_core.records.manifest import Proof
from tunecast_operator import times
from tunecast_operator.api.status import StartupCacheStatus
from tunecast_operator.plan.startup_cache import decide, not_done
from tunecast_operator.plan.tuning import (  # fmt: skip
    CleanUpAttempt,
    CreateAttempt,
    DeleteJob,
    DeleteService,
    DeleteStartupCache,
    Published,
)
from tunecast_operator.resources.quarantine import Case, Failure, Quarantine


def test_a_bundle_in_the_store_needs_no_job() -> None:
    plan = decide(seen(published=Published(manifest(KEY), "d" * 64, "s")))
    assert plan.actions == NEVER_BEGAN
    assert decide(seen(plan.status, published=Published(manifest(KEY), "d" * 64, "s"))).actions == ()
    assert ready(plan).status == "True"
    assert plan.status.state == "Ready"
    assert (plan.status.cold, plan.status.warm, plan.status.speedup) == ("60.0s", "20.0s", "2.5x")
    assert plan.status.size == "1.0 MiB"


def test_nothing_begins_while_nobody_wants_it() -> None:
    plan = decide(seen({"state": "Pending"}, wanted_by=[]))
    assert plan.actions == NEVER_BEGAN
    assert decide(seen(plan.status, wanted_by=[])).actions == ()
    assert plan.status.unwanted_since == times.text(NOW)
    assert plan.requeue_seconds == 24 * 3600


def test_a_new_cache_is_given_time_to_be_referred_to() -> None:
    made = seen(wanted_by=[])
    made.cache["metadata"]["creationTimestamp"] = times.text(NOW - timedelta(seconds=1))
    assert (decide(made).conditions, decide(made).status) == ((), StartupCacheStatus())
    made.cache["metadata"]["creationTimestamp"] = times.text(NOW - timedelta(minutes=1))
    assert decide(made).status.unwanted_since == times.text(NOW)


def test_the_job_of_an_unwanted_cache_is_deleted_at_once_and_cleaned_up_after_its_pods() -> None:
    running = seen(UNDER_WAY, wanted_by=[], job=job(), pods=RUNNING)
    assert decide(running).actions == (DeleteJob("kc-1", "job-uid"),)
    ending = seen(UNDER_WAY, wanted_by=[], pods=RUNNING)
    assert decide(ending).actions == ()
    gone = seen(UNDER_WAY, wanted_by=[])
    assert decide(gone).actions == (CleanUpAttempt(1), DeleteService())


def test_an_unwanted_cache_is_deleted_after_a_day() -> None:
    since = times.text(NOW - timedelta(days=1, seconds=1))
    assert DeleteStartupCache() in decide(seen({"unwantedSince": since, "state": "Failed"}, wanted_by=[])).actions


@pytest.mark.parametrize(
    ("state", "minutes", "deleted"),
    [(None, 11, True), ("Pending", 11, True), ("Pending", 9, False), ("Tuning", 11, False), ("Failed", 11, False)],
)
def test_a_cache_for_nodes_that_are_gone_is_deleted_before_it_tunes(
    state: str | None, minutes: int, deleted: bool
) -> None:
    found = seen({"state": state} if state else None, nodes_gone=True)
    found.cache["metadata"]["creationTimestamp"] = times.text(NOW - timedelta(minutes=minutes))
    assert (DeleteStartupCache() in decide(found).actions) is deleted
    assert DeleteStartupCache() not in decide(replace(found, nodes_gone=False)).actions
    published = replace(found, published=Published(manifest(KEY), "d" * 64, "s"))
    assert DeleteStartupCache() not in decide(published).actions


def test_a_cache_wanted_again_forgets_that_it_was_not() -> None:
    plan = decide(seen({"unwantedSince": times.text(NOW), "state": "Failed"}))
    assert plan.status.unwanted_since is None


def test_status_records_renewed_use_before_an_attempt_creates_objects() -> None:
    """An operator that ends before it creates the Job leaves a Service, which is deleted with the unused cache."""
    rests = decide(seen({"state": "Pending"}, wanted_by=[]))
    wanted = decide(seen(rests.status))
    assert (wanted.actions, wanted.status.unwanted_since, wanted.requeue_seconds) == ((), None, 0)
    assert decide(seen(wanted.status)).actions == (CreateAttempt(1),)
    assert decide(seen(wanted.status, wanted_by=[])).actions == NEVER_BEGAN


def without_layers(reason: str) -> Proof:
    """Returns the result of an attempt without archives."""
    found = proof(verdict="Miss")
    return replace(found, reason=reason, ranks=tuple(replace(rank, layers=()) for rank in found.ranks))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            proof(cold=10, warm=11),
            "saved -0.8s in the phases that it can shorten (compile 8.0s cold and 8.8s warm)",
        ),
        (proof(verdict="Miss", reason="load failure"), "TorchCompile: load failure"),
        (without_layers("engines run its default tactics"), "engines run its default tactics: replicas start cold"),
        (without_layers(""), "the engine left no files: replicas start cold"),
    ],
)
def test_an_inert_bundle_is_never_published(bad: Any, words: str) -> None:
    plan = decide(seen(UNDER_WAY, job=job(end="Complete"), results={0: replace(RESULT, proof=bad)}))
    assert plan.actions == (CleanUpAttempt(1), DeleteService())
    assert plan.status.state == "Ineffective"
    assert words in ready(plan).message


@pytest.mark.parametrize("wanted_by", [["qwen3"], []])
def test_a_bundle_that_another_cache_published_ends_the_job_before_what_it_staged(wanted_by: list[str]) -> None:
    """Two caches of one key may differ in ranks; the slower one's Job is not needed and holds GPUs."""
    elsewhere = Published(manifest(KEY), "d", "s")
    plan = decide(seen(UNDER_WAY, job=job(), pods=RUNNING, published=elsewhere, wanted_by=wanted_by))
    assert plan.actions == (DeleteJob("kc-1", "job-uid"),)
    assert (plan.status.state, plan.status.job, plan.requeue_seconds) == ("Ready", "kc-1", 2.0)
    plan = decide(seen(plan.status, published=elsewhere, wanted_by=wanted_by))
    assert plan.actions == (CleanUpAttempt(1), DeleteService())
    assert plan.status.job is None


def test_a_bundle_that_is_gone_from_the_store_is_tuned_again_with_all_its_time() -> None:
    yesterday = times.text(NOW - timedelta(days=1))
    status = {"state": "Ready", "attempt": 2, "failures": 1, "queuedSince": yesterday, "startedAt": yesterday}
    begun = decide(seen({**status, "finishedAt": yesterday, "size": "1.0 MiB"}))
    assert (begun.actions, begun.requeue_seconds) == ((), 0)
    plan = decide(seen(begun.status))
    assert plan.actions == (CreateAttempt(3),)
    assert plan.status.queued_since == times.text(NOW)
    assert not kept(plan).keys() & {"startedAt", "finishedAt", "failures", "size"}
    assert decide(seen(status, wanted_by=[])).status.state == "Pending"


@pytest.mark.parametrize("state", ["Failed", "Ineffective"])
def test_why_it_gave_up_is_kept_while_nobody_wants_it(state: str) -> None:
    why = {"type": "Ready", "status": "False", "reason": "AttemptsExhausted", "message": "words"}
    why["lastTransitionTime"] = times.text(NOW)
    unwanted = decide(seen({"state": state, "attempt": 1, "conditions": [why]}, wanted_by=[]))
    assert (ready(unwanted).reason, ready(unwanted).message) == ("AttemptsExhausted", "words")
    assert (unwanted.status.state, unwanted.status.unwanted_since) == (state, times.text(NOW))


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
    stands = not_done(before, decide(before), DOWN)
    assert (stands.status.state, stands.status.job, ready(stands).status) == (state, "kc-1", status)
    later = decide(seen(kept(stands), **changes))
    assert CleanUpAttempt(1) in later.actions
    assert (later.conditions, later.status.job) == (stands.conditions, None)


PUBLISHED = Published(manifest(KEY), "digest", "signer")
BLAMED = Quarantine(("digest",), {"digest": Case("qwen3-a ended with 139, 2 times", (Failure(139),))})
LIFTED = Quarantine((), {"digest": Case("qwen3-b ended with 139 too", (), (Failure(139),))})


@pytest.mark.parametrize(
    ("quarantine", "words"),
    [
        (BLAMED, "qwen3-a ended with 139, 2 times"),
        (Quarantine(("digest",)), "the bundle of this key is quarantined"),
    ],
)
@pytest.mark.parametrize("wanted_by", [["qwen3"], []])
def test_a_bundle_that_engines_crash_from_is_quarantined(
    quarantine: Quarantine, words: str, wanted_by: list[str]
) -> None:
    plan = decide(seen(published=PUBLISHED, quarantine=quarantine, wanted_by=wanted_by))
    assert plan.status.state == "Quarantined"
    assert plan.status.manifest == "digest"
    assert (ready(plan).reason, words in ready(plan).message, ready(plan).warning) == ("Quarantined", True, True)
    assert "Raise spec.tuning.generation" in ready(plan).message
    later = decide(seen(kept(plan), quarantine=quarantine, wanted_by=wanted_by))
    assert (later.status.state, ready(later).message) == ("Quarantined", ready(plan).message)
    assert later.actions == ()


def test_another_bundles_quarantine_is_none_of_its_own() -> None:
    plan = decide(seen(published=PUBLISHED, quarantine=Quarantine(("other",))))
    assert (plan.status.state, ready(plan).reason) == ("Ready", "Published")


def test_a_lifted_quarantine_makes_it_ready_again_with_a_reason() -> None:
    before = kept(decide(seen(published=PUBLISHED, quarantine=BLAMED)))
    plan = decide(seen(before, published=PUBLISHED, quarantine=LIFTED))
    assert (plan.status.state, ready(plan).status, ready(plan).reason) == ("Ready", "True", "QuarantineLifted")
    assert "qwen3-b ended with 139 too" in ready(plan).message
    later = decide(seen(kept(plan), published=PUBLISHED, quarantine=LIFTED))
    assert kept(later) == kept(plan)


def test_a_lifted_quarantine_waits_for_the_store() -> None:
    before = kept(decide(seen(published=PUBLISHED, quarantine=BLAMED)))
    plan = decide(seen(before, store_error=DOWN, quarantine=LIFTED))
    assert (plan.status.state, ready(plan).reason) == ("Quarantined", "Quarantined")


def test_a_lifted_bundle_that_is_gone_from_the_store_is_tuned_again() -> None:
    before = kept(decide(seen(published=PUBLISHED, quarantine=BLAMED)))
    assert decide(seen(before, quarantine=LIFTED)).status.state == "Pending"
