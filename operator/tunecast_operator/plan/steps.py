"""Building blocks of a StartupCache's plan."""

from __future__ import annotations

from tunecast_operator import times
from tunecast_operator.api.status import FailureStatus, StartupCacheStatus
from tunecast_operator.conditions import Condition, ConditionType, Reason
from tunecast_operator.plan.outcome import Outcome, attempt_ended, held_by_sidecars, rank_ended
from tunecast_operator.plan.tuning import Action, CleanUpAttempt, DeleteJob, DeleteService, ObservedTuning
from tunecast_operator.resources.job import attempt_name


def unready(seen: ObservedTuning, reason: str, message: str, *, warning: bool = False) -> tuple[Condition, ...]:
    """Returns the conditions of a StartupCache that isn't ready. Reasons that need a user's action are warnings."""
    warning = warning or reason in {Reason.PODS_CANNOT_START, Reason.QUEUE_TIMEOUT}
    return (
        Condition(ConditionType.READY, "False", reason, message, warning),
        Condition(ConditionType.RECONCILING, "True" if seen.wanted else "False", reason, message),
        Condition(ConditionType.STALLED, "False", Reason.IDLE, ""),
    )


def end_of_attempt(seen: ObservedTuning) -> tuple[Action, ...]:
    """Removes what the newest attempt left, and its Job if sidecars keep the Job from finishing."""
    if not seen.attempt:
        return ()
    return (*(delete_job(seen) if held_by_sidecars(seen.pods) else ()), CleanUpAttempt(seen.attempt))


def to_rest(seen: ObservedTuning) -> tuple[Action, ...]:
    """Cleans up the newest attempt; after that, a next attempt whose Job was never created."""
    left = end_of_attempt(seen) if seen.unresolved else (CleanUpAttempt(seen.attempt + 1),)
    return (*left, DeleteService())


def accounted(seen: ObservedTuning) -> StartupCacheStatus:
    """Returns status with the newest attempt, even if the operator ended before it wrote status."""
    return seen.status | StartupCacheStatus(attempt=seen.attempt) if seen.attempt else seen.status


def with_attempt(seen: ObservedTuning) -> StartupCacheStatus:
    """Returns status that names the attempt's Job, since its pods outlive the Job."""
    return accounted(seen) | StartupCacheStatus(job=attempt_name(dict(seen.cache), seen.attempt))


def still_there(seen: ObservedTuning) -> bool:
    """Whether ranks still run. They could stage more, so the attempt is not cleaned up yet."""
    coming = seen.job is not None and not attempt_ended(seen.job, seen.pods)
    return coming or any(not rank_ended(pod) for pod in seen.pods)


def delete_job(seen: ObservedTuning) -> tuple[Action, ...]:
    """Deletes the Job unless it is gone or being deleted."""
    if seen.job is None or seen.job["metadata"].get("deletionTimestamp"):
        return ()
    return (DeleteJob(seen.job["metadata"]["name"], seen.job["metadata"]["uid"]),)


def timed_out(seen: ObservedTuning) -> bool:
    """Whether all attempts together took longer than ``spec.timeout``."""
    return times.seconds_since(seen.status.started_at, seen.now) > seen.spec.timeout_seconds


def timeout_message(seen: ObservedTuning) -> str:
    """Returns the message of a time-out, with the stage that was reached."""
    stage = seen.status.progress.stage if seen.status.progress else "before any progress"
    return f"tuning took longer than {seen.spec.timeout} (stage: {stage}): raise spec.tuning.timeout and generation"


def failure(seen: ObservedTuning, outcome: Outcome) -> FailureStatus:
    """Returns an attempt's failure for the status."""
    return FailureStatus(reason=outcome.reason, message=outcome.message[:2048], attempt=seen.attempt, rank=outcome.rank)
