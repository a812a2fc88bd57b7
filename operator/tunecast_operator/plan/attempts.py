"""One attempt of a StartupCache: its beginning, its course, its end, and when the next one is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tunecast_core.bundle.savings import effective
from tunecast_core.errors import TunecastError
from tunecast_core.records.job import JOIN_TIMED_OUT, RankResult
from tunecast_operator import pods, times
from tunecast_operator.api.status import ProgressStatus, StartupCacheStatus, State
from tunecast_operator.conditions import Condition, ConditionType, Reason
from tunecast_operator.plan import ends, gang
from tunecast_operator.plan.blocked import Blocked, blocked, exceeds_quota
from tunecast_operator.plan.outcome import (
    AttemptReason,
    Outcome,
    OutcomeKind,
    attempt_ended,
    classify,
    rank_of,
)
from tunecast_operator.plan.results import ineffective_because, proof_status
from tunecast_operator.plan.rivals import Rival
from tunecast_operator.plan.slots import Queued
from tunecast_operator.plan.steps import (
    delete_job,
    end_of_attempt,
    failure,
    timed_out,
    timeout_message,
    unready,
    with_attempt,
)
from tunecast_operator.plan.tuning import Action, CreateAttempt, ObservedTuning, Publish, RenewSettings, TuningPlan
from tunecast_operator.resources.job import attempt_name

MAX_DISRUPTIONS = 10
# Why the operator ends an attempt by deleting its Job, and what kind of outcome that is.
ENDED_BY_US: dict[str, OutcomeKind] = {
    AttemptReason.RANKS_NOT_SCHEDULED: OutcomeKind.UNSCHEDULED,
    JOIN_TIMED_OUT: OutcomeKind.CRASHED,
}
POLL_SECONDS = 10.0  # while a Job runs: its progress is in S3, where nothing can be watched
QUEUE_SECONDS = 30.0  # while others tune, in case their end is missed
REQUEUE_HEADSTART = 3  # so that the first pause is 40 seconds: others may want the capacity meanwhile
RETRY_SECONDS = 15.0  # before a step that the store or the API server failed is retried


def under_way(seen: ObservedTuning) -> TuningPlan:
    """Plans for the newest attempt, which runs, or has ended without having been accounted for."""
    if seen.job is None:
        if seen.pods:
            return TuningPlan(
                (), seen.status, unready(seen, Reason.RETRYING, "the Job was deleted; its pods are terminating"), 2.0
            )
        return _after(seen, _why_deleted(seen))
    if attempt_ended(seen.job, seen.pods):
        return _attempt_ended(seen)
    return _attempt_running(seen)


def _attempt_ended(seen: ObservedTuning) -> TuningPlan:
    if seen.store_error:
        return waiting(seen, seen.store_error)
    outcome = classify(seen.job or {}, seen.pods, seen.results)
    if outcome.kind == OutcomeKind.REJECTED:
        last = StartupCacheStatus(last_failure=failure(seen, outcome))
        return ends.end(seen, State.FAILED, outcome.reason, outcome.message, last)
    if outcome.kind != OutcomeKind.SUCCEEDED:
        return _after(seen, outcome)
    if seen.publish_error:
        return _retry(seen, Outcome(OutcomeKind.CRASHED, seen.publish_error.reason, str(seen.publish_error)))
    result = seen.results[0]
    if result.proof and not effective(result.proof):
        why = ineffective_because(result.proof)
        proved = proof_status(result.proof) | StartupCacheStatus(notes=None)
        return ends.end(seen, State.INEFFECTIVE, Reason.INEFFECTIVE, why, proved)
    status = with_attempt(seen) | StartupCacheStatus(state=State.PUBLISHING, progress=None)
    conditions = unready(seen, Reason.PUBLISHING, "the Job proved its bundle; it is being signed and published")
    return TuningPlan((Publish(seen.attempt, _with_image(seen, result)),), status, conditions, 0.0)


def _with_image(seen: ObservedTuning, result: RankResult) -> RankResult:
    image = next((pods.engine(pod).image_id for pod in seen.pods if rank_of(pod) == 0), "")
    return replace(result, provenance=result.provenance and replace(result.provenance, image_id=image or None))


def _why_deleted(seen: ObservedTuning) -> Outcome:
    """Returns the operator's reason if it deleted the Job to end the attempt; otherwise somebody else deleted it."""
    known = seen.status.last_failure
    if known and known.attempt == seen.attempt and known.reason in ENDED_BY_US:
        return Outcome(ENDED_BY_US[known.reason], known.reason, known.message)
    return Outcome(
        OutcomeKind.DISRUPTED,
        AttemptReason.JOB_DELETED,
        f"somebody deleted the Job {attempt_name(dict(seen.cache), seen.attempt)}",
    )


def _after(seen: ObservedTuning, outcome: Outcome) -> TuningPlan:
    """Plans what follows an attempt that produced no bundle."""
    return _requeue(seen, outcome) if outcome.kind == OutcomeKind.UNSCHEDULED else _retry(seen, outcome)


def _attempt_running(seen: ObservedTuning) -> TuningPlan:
    status = with_attempt(seen)
    why = blocked(seen.pods, seen.job, seen.now) or _not_created(seen)
    if stuck := gang.stuck(seen, why):
        status |= StartupCacheStatus(last_failure=failure(seen, stuck))
        reason = Reason.QUEUE_TIMEOUT if _never_ran_in_time(seen) else Reason.RETRYING
        return TuningPlan(delete_job(seen), status, unready(seen, reason, stuck.message, warning=True), 2.0)
    running = gang.all_started(seen)
    if running and not status.started_at:
        status |= StartupCacheStatus(started_at=times.text(seen.now))
    status |= StartupCacheStatus(state=State.TUNING if running else State.PENDING, progress=_progress(seen))
    due = times.seconds_since(status.settings_renew_at, seen.now) >= 0
    actions: tuple[Action, ...] = (RenewSettings(seen.attempt),) if due else ()
    conditions = unready(seen, *_running_reason(seen, running=running, why=why))
    return TuningPlan(actions, status, conditions, POLL_SECONDS)


def _progress(seen: ObservedTuning) -> ProgressStatus | None:
    """Returns the progress that rank 0 reported last."""
    reported = seen.progress
    if reported is None:
        return seen.status.progress
    return ProgressStatus(stage=reported.stage, seconds=round(reported.seconds), bytes=reported.bytes)


def _running_reason(seen: ObservedTuning, *, running: bool, why: Blocked | None) -> tuple[str, str]:
    if why is None and running:
        return Reason.TUNING, f"attempt {seen.attempt} runs on {seen.spec.ranks} rank(s)"
    text = f"{why.reason}: {why.message}" if why else "the pods of the Job are starting"
    if not running and _queue_overdue(seen):
        limit = seen.spec.queue_timeout
        late = f"not all ranks ran within {limit}: replicas start cold, and tuning goes on waiting"
        return Reason.QUEUE_TIMEOUT, f"{late}. {text}"
    if why is None:
        return Reason.QUEUED, text
    return (Reason.QUEUED if why.capacity else Reason.PODS_CANNOT_START), text


def _not_created(seen: ObservedTuning) -> Blocked | None:
    """Finds a queue, a quota or an admission webhook that keeps pods from being created."""
    if len(seen.pods) >= seen.spec.ranks:
        return None
    job, name = seen.job or {}, attempt_name(dict(seen.cache), seen.attempt)
    if job.get("spec", {}).get("suspend"):
        return Blocked("Suspended", f"the Job {name} is suspended: a queue such as Kueue has to admit it", True)
    if seen.refusal:
        return Blocked("PodsNotCreated", f"Job {name}: {seen.refusal}", capacity=exceeds_quota(seen.refusal))
    if times.seconds_since(job.get("metadata", {}).get("creationTimestamp"), seen.now) < POLL_SECONDS:
        return None
    text = f"{len(seen.pods)} of {seen.spec.ranks} pods exist: kubectl describe job {name} shows why"
    return Blocked("PodsNotCreated", text, capacity=True)


def next_attempt(seen: ObservedTuning) -> TuningPlan:
    """Begins the next attempt once its backoff has passed."""
    if seen.store_error:
        return waiting(seen, seen.store_error)
    wait = -times.seconds_since(seen.status.next_attempt_at, seen.now)
    if seen.status.next_attempt_at and wait > 0:
        return TuningPlan((), seen.status, _steady_reason(seen), wait)
    if seen.rival:
        return _behind(seen, seen.rival)
    if seen.queued:
        return _in_queue(seen, seen.queued)
    attempt = seen.attempt + 1
    status = seen.status | StartupCacheStatus(
        state=State.PENDING,
        attempt=attempt,
        job=attempt_name(dict(seen.cache), attempt),
        next_attempt_at=None,
        settings_renew_at=None,
        progress=None,
    )
    text = f"attempt {attempt} begins on {seen.spec.ranks} rank(s)"
    conditions = unready(seen, Reason.QUEUE_TIMEOUT if _never_ran_in_time(seen) else Reason.QUEUED, text)
    return TuningPlan((CreateAttempt(attempt),), status, conditions, POLL_SECONDS)


def _behind(seen: ObservedTuning, rival: Rival) -> TuningPlan:
    """Waits for another StartupCache that tunes the same key, since its bundle fits here too.

    While the ranks of the other one run, no time in the queue is counted here. It is counted again if they fail.
    """
    status = seen.status | StartupCacheStatus(state=State.PENDING)
    if rival.runs:
        status |= StartupCacheStatus(queued_since=None)
    reason = Reason.QUEUE_TIMEOUT if not rival.runs and _never_ran_in_time(seen) else Reason.QUEUED
    text = f"StartupCache {rival.name} tunes the same key: this one waits for its bundle"
    return TuningPlan((), status, unready(seen, reason, text), POLL_SECONDS)


def _in_queue(seen: ObservedTuning, queued: Queued) -> TuningPlan:
    """Waits until fewer StartupCaches tune. ``queueTimeout`` counts, as while ranks wait for room in the cluster."""
    status = seen.status | StartupCacheStatus(state=State.PENDING, queue_position=queued.position, next_attempt_at=None)
    text = str(queued)
    if late := _never_ran_in_time(seen):
        text = f"nothing ran within {seen.spec.queue_timeout}: replicas start cold, and tuning goes on waiting. {text}"
    conditions = unready(seen, Reason.QUEUE_TIMEOUT if late else Reason.QUEUED, text)
    left = seen.spec.queue_timeout_seconds - times.seconds_since(status.queued_since, seen.now)
    return TuningPlan((), status, conditions, min(QUEUE_SECONDS, left + 1) if left > 0 else QUEUE_SECONDS)


def _requeue(seen: ObservedTuning, outcome: Outcome) -> TuningPlan:
    """Requeues an attempt whose ranks never all ran. It counts as neither a failure nor a disruption."""
    requeues = (seen.status.requeues or 0) + 1
    wait = backoff_seconds(requeues + REQUEUE_HEADSTART)
    counted = StartupCacheStatus(attempt=seen.attempt, last_failure=failure(seen, outcome), requeues=requeues)
    status = seen.status | counted | _between_attempts(seen, wait)
    message = f"attempt {seen.attempt} was requeued: the next one begins in {wait:.0f} s. {outcome.message}"
    reason = Reason.QUEUE_TIMEOUT if _never_ran_in_time(seen) else Reason.QUEUED
    return TuningPlan(end_of_attempt(seen), status, unready(seen, reason, message, warning=True), wait)


def _between_attempts(seen: ObservedTuning, wait: float) -> StartupCacheStatus:
    """Returns the status until the next attempt, which begins in ``wait`` seconds."""
    return StartupCacheStatus(
        state=State.PENDING, job=None, progress=None, next_attempt_at=times.text(seen.now + timedelta(seconds=wait))
    )


def _retry(seen: ObservedTuning, outcome: Outcome) -> TuningPlan:
    """Retries with backoff. ``spec.attempts`` limits failures, and MAX_DISRUPTIONS limits disruptions."""
    failures, disruptions = seen.status.failures or 0, seen.status.disruptions or 0
    if outcome.kind == OutcomeKind.DISRUPTED:
        disruptions += 1
        counted = StartupCacheStatus(disruptions=disruptions)
    else:
        failures += 1
        counted = StartupCacheStatus(failures=failures)
    last = StartupCacheStatus(attempt=seen.attempt, last_failure=failure(seen, outcome))
    seen = replace(seen, status=seen.status | last | counted)
    if failures >= seen.spec.attempts:
        text = f"all {seen.spec.attempts} attempts failed; the last one: {outcome.message}"
        return ends.end(seen, State.FAILED, Reason.ATTEMPTS_EXHAUSTED, text)
    if disruptions >= MAX_DISRUPTIONS:
        return ends.end(
            seen,
            State.FAILED,
            Reason.TOO_MANY_DISRUPTIONS,
            f"{MAX_DISRUPTIONS} disruptions; the last one: {outcome.message}",
        )
    if timed_out(seen):
        return ends.end(seen, State.FAILED, Reason.TIMED_OUT, timeout_message(seen))
    wait = backoff_seconds(failures + disruptions)
    status = seen.status | _between_attempts(seen, wait)
    message = f"attempt {seen.attempt} ended ({outcome.reason}: {outcome.message}); the next one begins in {wait:.0f} s"
    return TuningPlan(end_of_attempt(seen), status, unready(seen, Reason.RETRYING, message, warning=True), wait)


def backoff_seconds(ends: int) -> float:
    """Returns 5, 10, 20, ... seconds after the first, second, third end, and at most five minutes."""
    return float(min(300, 5 * 2 ** min(ends - 1, 10)))


def waiting(seen: ObservedTuning, error: TunecastError) -> TuningPlan:
    """Waits until ``error`` is resolved. Replicas wait no longer than ``timeout`` and ``queueTimeout`` allow."""
    reason, text = error.reason, str(error)
    if seen.wanted and timed_out(seen):
        reason, text = Reason.TIMED_OUT, f"{timeout_message(seen)}; replicas start cold. {error}"
    elif seen.wanted and _never_ran_in_time(seen):
        reason, text = (
            Reason.QUEUE_TIMEOUT,
            f"nothing ran within {seen.spec.queue_timeout}, so replicas start cold. {error}",
        )
    return TuningPlan((), seen.status, unready(seen, reason, text, warning=True), RETRY_SECONDS)


def _never_ran_in_time(seen: ObservedTuning) -> bool:
    return not seen.status.started_at and _queue_overdue(seen)


def _queue_overdue(seen: ObservedTuning) -> bool:
    """Whether ``queueTimeout`` has passed. Once ranks have run, it is counted for each later attempt anew."""
    since = seen.status.queued_since
    if seen.status.started_at and seen.job:
        since = seen.job["metadata"].get("creationTimestamp")
    return times.seconds_since(since, seen.now) > seen.spec.queue_timeout_seconds


def _steady_reason(seen: ObservedTuning) -> tuple[Condition, ...]:
    old = seen.status.condition(ConditionType.READY)
    return unready(seen, old.reason if old else Reason.QUEUED, old.message if old else "", warning=True)
