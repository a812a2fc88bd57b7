"""Where a StartupCache comes to rest: ready, quarantined, given up, or wanted by nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tunecast_operator import conditions as c
from tunecast_operator import times
from tunecast_operator.api.status import StartupCacheStatus, State
from tunecast_operator.conditions import Condition
from tunecast_operator.plan.results import bundle_status
from tunecast_operator.plan.steps import accounted, delete_job, still_there, to_rest, unready, with_attempt
from tunecast_operator.plan.tuning import DeleteCache, ObservedTuning, Published, TuningPlan
from tunecast_operator.resources.job import attempt_name

FORGET_AFTER = timedelta(days=1)
NEW_SECONDS = 30.0
GIVEN_UP = {"Ineffective", "Failed", "Quarantined"}


def ready(seen: ObservedTuning, published: Published) -> TuningPlan:
    """A bundle of its key is in the store, whoever made it."""
    running = seen.unresolved and still_there(seen)  # another cache of this key was faster
    status = accounted(seen) | bundle_status(published.manifest)
    status |= StartupCacheStatus(
        state="Ready",
        referred_by=sorted(seen.wanted_by),
        manifest=published.digest,
        signer=published.signer,
        progress=None,
        job=attempt_name(dict(seen.cache), seen.attempt) if running else None,
        finished_at=seen.status.finished_at or times.text(seen.now),
    )
    message = f"{status.size}, made {published.manifest.created}: cold {status.cold}, warm {status.warm}"
    reason = c.PUBLISHED
    if seen.quarantine.lifted(published.digest):
        reason = c.QUARANTINE_LIFTED
        message += f". It was quarantined, and is no more: {seen.quarantine.message(published.digest)}"
    conditions = (
        Condition(c.READY, "True", reason, message),
        Condition(c.RECONCILING, "False", c.IDLE, ""),
        Condition(c.STALLED, "False", c.IDLE, ""),
    )
    if running:
        return _forgetting(seen, TuningPlan(delete_job(seen), status, conditions, 2.0))
    actions = () if seen.status.state == "Ready" and not seen.unresolved else to_rest(seen)
    return _forgetting(seen, TuningPlan(actions, status, conditions))


def blamed(seen: ObservedTuning, digest: str) -> str:
    """Why replicas must not start from the bundle of this digest; empty where they may."""
    if digest not in seen.quarantine.digests:
        return ""
    why = seen.quarantine.message(digest) or "the bundle of this key is quarantined in the trust ConfigMap"
    return f"{why}: replicas start cold. Raise spec.tuning.generation to tune again"


def quarantined(ready: TuningPlan, why: str) -> TuningPlan:
    """What a cache that is ready says, but that nobody starts from it any more."""
    status = ready.status | StartupCacheStatus(state="Quarantined")
    return replace(ready, status=status, conditions=_ended_conditions(c.QUARANTINED, why))


def still_ready(seen: ObservedTuning) -> TuningPlan:
    """The store doesn't answer now; what was published is not in doubt."""
    old = seen.status.condition(c.READY)
    conditions = (
        Condition(c.READY, "True", old.reason if old else c.PUBLISHED, old.message if old else ""),
        Condition(c.RECONCILING, "False", c.IDLE, ""),
        Condition(c.STALLED, "False", c.IDLE, ""),
    )
    status = seen.status | StartupCacheStatus(referred_by=sorted(seen.wanted_by))
    return _forgetting(seen, TuningPlan((), status, conditions))


def unwanted(seen: ObservedTuning) -> TuningPlan:
    """Its Job holds GPUs that nobody asks for any more, so it goes at once; what is known stays for a day."""
    age = times.seconds_since(seen.cache["metadata"].get("creationTimestamp"), seen.now)
    if not seen.status.written and age < NEW_SECONDS:
        return TuningPlan((), StartupCacheStatus(), (), NEW_SECONDS)  # whoever made it has yet to say so
    if seen.unresolved and still_there(seen):
        conditions = unready(seen, c.UNWANTED, "no InferenceDeployment refers to it")
        return TuningPlan(delete_job(seen), with_attempt(seen), conditions, 2.0)
    status = accounted(seen) | StartupCacheStatus(referred_by=[], job=None, progress=None)
    if status.state in GIVEN_UP:  # why it gave up is what the next one to want it must hear
        return _forgetting(seen, replace(steady(seen), status=status))
    status |= StartupCacheStatus(state="Pending", queued_since=None, started_at=None)
    actions = to_rest(seen) if seen.unresolved or seen.status.unwanted_since is None else ()
    message = "no InferenceDeployment refers to it"
    return _forgetting(seen, TuningPlan(actions, status, unready(seen, c.UNWANTED, message)))


def _forgetting(seen: ObservedTuning, plan: TuningPlan) -> TuningPlan:
    """Starts, keeps or ends the day after which an unwanted cache is deleted."""
    if seen.wanted_by:
        return replace(plan, status=plan.status | StartupCacheStatus(unwanted_since=None))
    since = plan.status.unwanted_since or times.text(seen.now)
    status = plan.status | StartupCacheStatus(unwanted_since=since)
    left = FORGET_AFTER.total_seconds() - times.seconds_since(since, seen.now)
    if left <= 0:
        return replace(plan, actions=(*plan.actions, DeleteCache()), status=status)
    return replace(plan, status=status, requeue_seconds=left if plan.requeue_seconds is None else plan.requeue_seconds)


def at_rest(status: StartupCacheStatus) -> bool:
    """Nothing is begun, and what attempts left was removed once."""
    return status.unwanted_since is not None or status.state in {"Ready", *GIVEN_UP}


def steady(seen: ObservedTuning) -> TuningPlan:
    """It gave up, and says the same as then."""
    old = seen.status.condition(c.READY)
    conditions = _ended_conditions(old.reason if old else c.ATTEMPTS_EXHAUSTED, old.message if old else "")
    actions = to_rest(seen) if seen.unresolved else ()  # the store failed before
    return TuningPlan(actions, seen.status | StartupCacheStatus(job=None), conditions)


def end(
    seen: ObservedTuning, state: State, reason: str, message: str, changes: StartupCacheStatus | None = None
) -> TuningPlan:
    """It gives up now. ``changes`` are of the status, besides what every end changes."""
    ended = StartupCacheStatus(
        state=state, job=None, progress=None, next_attempt_at=None, finished_at=times.text(seen.now)
    )
    status = accounted(seen) | ended | (changes or StartupCacheStatus())
    return TuningPlan(to_rest(seen), status, _ended_conditions(reason, message))


def _ended_conditions(reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition(c.READY, "False", reason, message, warning=True),
        Condition(c.RECONCILING, "False", c.IDLE, ""),
        Condition(c.STALLED, "True", reason, message, warning=True),
    )
