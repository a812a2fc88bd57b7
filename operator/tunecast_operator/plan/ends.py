"""Plans for a StartupCache that needs no attempt: it is ready, quarantined, given up or unwanted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tunecast_operator import times
from tunecast_operator.api.status import StartupCacheStatus, State
from tunecast_operator.conditions import Condition, ConditionType, Reason
from tunecast_operator.plan.results import bundle_status
from tunecast_operator.plan.steps import accounted, delete_job, still_there, to_rest, unready, with_attempt
from tunecast_operator.plan.tuning import (
    NODES_GONE_SECONDS,
    DeleteStartupCache,
    ObservedTuning,
    Published,
    TuningPlan,
)
from tunecast_operator.resources.job import attempt_name

FORGET_AFTER = timedelta(days=1)
NEW_SECONDS = 30.0
GIVEN_UP = {State.INEFFECTIVE, State.FAILED, State.QUARANTINED}


def ready(seen: ObservedTuning, published: Published) -> TuningPlan:
    """Plans for a StartupCache whose bundle is in the store, whichever StartupCache made it."""
    running = seen.unresolved and still_there(seen)  # another StartupCache of this key was faster
    status = accounted(seen) | bundle_status(published.manifest)
    status |= StartupCacheStatus(
        state=State.READY,
        referred_by=sorted(seen.wanted_by),
        manifest=published.digest,
        signer=published.signer,
        progress=None,
        job=attempt_name(dict(seen.cache), seen.attempt) if running else None,
        finished_at=seen.status.finished_at or times.text(seen.now),
    )
    message = f"{status.size}, made {published.manifest.created}: cold {status.cold}, warm {status.warm}"
    reason = Reason.PUBLISHED
    if seen.quarantine.lifted(published.digest):
        reason = Reason.QUARANTINE_LIFTED
        message += f". The quarantine of this bundle was lifted: {seen.quarantine.message(published.digest)}"
    conditions = (
        Condition(ConditionType.READY, "True", reason, message),
        Condition(ConditionType.RECONCILING, "False", Reason.IDLE, ""),
        Condition(ConditionType.STALLED, "False", Reason.IDLE, ""),
    )
    if running:
        return _forgetting(seen, TuningPlan(delete_job(seen), status, conditions, 2.0))
    actions = () if seen.status.state == State.READY and not seen.unresolved else to_rest(seen)
    return _forgetting(seen, TuningPlan(actions, status, conditions))


def blamed(seen: ObservedTuning, digest: str) -> str:
    """Returns why replicas must not start from the bundle with this digest; empty if they may."""
    if digest not in seen.quarantine.digests:
        return ""
    why = seen.quarantine.message(digest) or "the bundle of this key is quarantined in the trust ConfigMap"
    return f"{why}: replicas start cold. Raise spec.tuning.generation to tune again"


def quarantined(ready: TuningPlan, why: str) -> TuningPlan:
    """Turns the plan of a ready StartupCache into that of a quarantined one."""
    status = ready.status | StartupCacheStatus(state=State.QUARANTINED)
    return replace(ready, status=status, conditions=_ended_conditions(Reason.QUARANTINED, why))


def still_ready(seen: ObservedTuning) -> TuningPlan:
    """Keeps a StartupCache Ready while the store doesn't answer."""
    old = seen.status.condition(ConditionType.READY)
    conditions = (
        Condition(ConditionType.READY, "True", old.reason if old else Reason.PUBLISHED, old.message if old else ""),
        Condition(ConditionType.RECONCILING, "False", Reason.IDLE, ""),
        Condition(ConditionType.STALLED, "False", Reason.IDLE, ""),
    )
    status = seen.status | StartupCacheStatus(referred_by=sorted(seen.wanted_by))
    return _forgetting(seen, TuningPlan((), status, conditions))


def unwanted(seen: ObservedTuning) -> TuningPlan:
    """Deletes the Job at once, since it holds GPUs that nobody needs. The status stays for a day."""
    age = times.seconds_since(seen.cache["metadata"].get("creationTimestamp"), seen.now)
    if not seen.status.written and age < NEW_SECONDS:
        return TuningPlan(
            (), StartupCacheStatus(), (), NEW_SECONDS
        )  # the InferenceDeployment that created it has yet to refer to it
    message = "no InferenceDeployment refers to this StartupCache"
    if seen.unresolved and still_there(seen):
        conditions = unready(seen, Reason.UNWANTED, message)
        return TuningPlan(delete_job(seen), with_attempt(seen), conditions, 2.0)
    status = accounted(seen) | StartupCacheStatus(referred_by=[], job=None, progress=None)
    if status.state in GIVEN_UP:  # the next InferenceDeployment that refers to it shows why tuning failed
        return _forgetting(seen, replace(steady(seen), status=status))
    status |= StartupCacheStatus(state=State.PENDING, queued_since=None, started_at=None)
    actions = to_rest(seen) if seen.unresolved or seen.status.unwanted_since is None else ()
    return _forgetting(seen, TuningPlan(actions, status, unready(seen, Reason.UNWANTED, message)))


def unreachable(seen: ObservedTuning) -> bool:
    """Whether no rank can ever run, because the nodes that the StartupCache names are gone."""
    age = times.seconds_since(seen.cache["metadata"].get("creationTimestamp"), seen.now)
    pending = seen.status.state in {None, State.PENDING}
    return seen.nodes_gone and pending and age > NODES_GONE_SECONDS


def forget(seen: ObservedTuning) -> TuningPlan:
    """Deletes the StartupCache at once. One for the same hardware on other nodes has the same name."""
    return TuningPlan((*to_rest(seen), DeleteStartupCache()), seen.status, ())


def _forgetting(seen: ObservedTuning, plan: TuningPlan) -> TuningPlan:
    """Starts, keeps or ends the day after which an unwanted StartupCache is deleted."""
    if seen.wanted:
        return replace(plan, status=plan.status | StartupCacheStatus(unwanted_since=None))
    since = plan.status.unwanted_since or times.text(seen.now)
    status = plan.status | StartupCacheStatus(unwanted_since=since)
    left = FORGET_AFTER.total_seconds() - times.seconds_since(since, seen.now)
    if left <= 0:
        return replace(plan, actions=(*plan.actions, DeleteStartupCache()), status=status)
    return replace(plan, status=status, requeue_seconds=left if plan.requeue_seconds is None else plan.requeue_seconds)


def at_rest(status: StartupCacheStatus) -> bool:
    """Whether no attempt is under way or due, and the last one was cleaned up."""
    return status.unwanted_since is not None or status.state in {State.READY, *GIVEN_UP}


def steady(seen: ObservedTuning) -> TuningPlan:
    """Keeps the conditions of a StartupCache that has given up."""
    old = seen.status.condition(ConditionType.READY)
    conditions = _ended_conditions(old.reason if old else Reason.ATTEMPTS_EXHAUSTED, old.message if old else "")
    actions = to_rest(seen) if seen.unresolved else ()  # an earlier clean-up failed
    return TuningPlan(actions, seen.status | StartupCacheStatus(job=None), conditions)


def end(
    seen: ObservedTuning, state: State, reason: str, message: str, changes: StartupCacheStatus | None = None
) -> TuningPlan:
    """Gives up. ``changes`` are further changes of the status."""
    ended = StartupCacheStatus(
        state=state, job=None, progress=None, next_attempt_at=None, finished_at=times.text(seen.now)
    )
    status = accounted(seen) | ended | (changes or StartupCacheStatus())
    return TuningPlan(to_rest(seen), status, _ended_conditions(reason, message))


def _ended_conditions(reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition(ConditionType.READY, "False", reason, message, warning=True),
        Condition(ConditionType.RECONCILING, "False", Reason.IDLE, ""),
        Condition(ConditionType.STALLED, "True", reason, message, warning=True),
    )
