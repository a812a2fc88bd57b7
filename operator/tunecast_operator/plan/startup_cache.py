"""Plans a StartupCache: use a published bundle, tune, publish, or give up."""

from __future__ import annotations

from dataclasses import replace

from tunecast_core.errors import TunecastError
from tunecast_operator import times
from tunecast_operator.api.status import StartupCacheStatus, State
from tunecast_operator.conditions import Reason
from tunecast_operator.plan import attempts, ends
from tunecast_operator.plan.outcome import Outcome, OutcomeKind, attempt_ended
from tunecast_operator.plan.steps import (
    delete_job,
    failure,
    still_there,
    timed_out,
    timeout_message,
    unready,
    with_attempt,
)
from tunecast_operator.plan.tuning import ObservedTuning, TuningPlan
from tunecast_operator.plan.usage import with_usage
from tunecast_operator.resources.job import attempt_name


def decide(seen: ObservedTuning) -> TuningPlan:
    """Considers a published bundle first, then an attempt that is under way, then a new attempt."""
    if seen.status.queue_position:  # it is set again if the StartupCache still waits
        seen = replace(seen, status=seen.status | StartupCacheStatus(queue_position=None))
    return with_usage(seen, _decide(seen))


def _decide(seen: ObservedTuning) -> TuningPlan:
    if seen.published and (why := ends.blamed(seen, seen.published.digest)):
        return ends.quarantined(ends.ready(seen, seen.published), why)
    if seen.published:
        return ends.ready(seen, seen.published)
    if seen.store_error and seen.status.state == State.READY:
        return ends.still_ready(seen)
    if ends.unreachable(seen):
        return ends.forget(seen)
    if not seen.wanted:
        return ends.unwanted(seen)
    wanted = replace(seen, status=_wanted_status(seen))
    if wanted.status.state in ends.GIVEN_UP:
        return ends.steady(wanted)
    ended = wanted.unresolved and wanted.job is not None and attempt_ended(wanted.job, wanted.pods)
    if timed_out(wanted) and not ended:  # the result of an attempt that has ended is not discarded
        return _stop(wanted, timeout_message(wanted))
    if wanted.unresolved:
        return attempts.under_way(wanted)
    if ends.at_rest(seen.status) and not seen.store_error:
        # Status shows it before anything is created, so that a later clean-up also finds what has no Job.
        return TuningPlan((), wanted.status, unready(wanted, Reason.QUEUED, "an attempt begins next"), 0.0)
    return attempts.next_attempt(wanted)


def not_done(seen: ObservedTuning, plan: TuningPlan, error: TunecastError) -> TuningPlan:
    """Plans a retry after a step of ``plan`` failed. A final state is kept; otherwise only the reason changes."""
    if plan.status.state in {State.READY, *ends.GIVEN_UP}:
        status = plan.status
        if seen.unresolved:
            status |= StartupCacheStatus(job=attempt_name(dict(seen.cache), seen.attempt))
        return replace(plan, actions=(), status=status, requeue_seconds=attempts.RETRY_SECONDS)
    if seen.wanted:
        seen = replace(seen, status=_wanted_status(seen))
    return attempts.waiting(seen, error)


def _wanted_status(seen: ObservedTuning) -> StartupCacheStatus:
    status = seen.status
    if status.state == State.READY or (seen.lifted and not seen.store_error):
        # The bundle is gone from the store, so everything but the number of attempts is reset.
        status = StartupCacheStatus(attempt=status.attempt, job=status.job, conditions=status.conditions)
    return status | StartupCacheStatus(
        state=status.state or State.PENDING,
        referred_by=sorted(seen.wanted_by),
        hardware=seen.spec.hardware or status.hardware,
        unwanted_since=None,
        queue_position=None,
        queued_since=status.queued_since or times.text(seen.now),
    )


def _stop(seen: ObservedTuning, message: str) -> TuningPlan:
    """Ends the attempt that runs, then fails with TimedOut."""
    if seen.unresolved and still_there(seen):
        conditions = unready(seen, Reason.TIMED_OUT, message, warning=True)
        return TuningPlan(delete_job(seen), with_attempt(seen), conditions, 2.0)
    if seen.store_error:
        return attempts.waiting(seen, seen.store_error)
    if seen.unresolved:
        cut_short = failure(seen, Outcome(OutcomeKind.CRASHED, Reason.TIMED_OUT, message))
        return ends.end(seen, State.FAILED, Reason.TIMED_OUT, message, StartupCacheStatus(last_failure=cut_short))
    return ends.end(seen, State.FAILED, Reason.TIMED_OUT, message)
