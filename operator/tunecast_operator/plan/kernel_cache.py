"""What to do about a KernelCache: look it up, tune it, publish it, or leave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tunecast_cache.errors import TunecastError
from tunecast_cache.job import RankResult
from tunecast_operator import conditions as c
from tunecast_operator import times
from tunecast_operator.conditions import Condition
from tunecast_operator.plan.blocked import Blocked, blocked
from tunecast_operator.plan.crashes import to_blame
from tunecast_operator.plan.drift import image_id
from tunecast_operator.plan.outcome import JOB_DELETED, Outcome, classify, finished, rank_of
from tunecast_operator.plan.results import bundle_status, ineffective_because, proof_status
from tunecast_operator.plan.tuning import (
    Action,
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
from tunecast_operator.resources.job import attempt_name
from tunecast_operator.resources.pod import ENGINE

MAX_DISRUPTIONS = 10
FORGET_AFTER = timedelta(days=1)
RENEW_AFTER = timedelta(hours=1)  # of presigned URLs, which live for six
POLL_SECONDS = 10.0  # while a Job runs: its progress is in S3, where nothing can be watched
RETRY_SECONDS = 15.0  # of what the store, or the API server, refused
NEW_SECONDS = 30.0
GIVEN_UP = {"Ineffective", "Failed", "Quarantined"}


def decide(seen: Observed) -> Plan:
    """First what is known to be so, then what is under way, then what to begin."""
    if seen.published and (why := _blamed(seen, seen.published.digest)):
        return _quarantined(_ready(seen, seen.published), why)
    if seen.published:
        return _ready(seen, seen.published)
    if seen.store_error and seen.status.get("state") == "Ready":
        return _still_ready(seen)
    if not seen.wanted_by:
        return _unwanted(seen)
    wanted = replace(seen, cache={**seen.cache, "status": _wanted_status(seen)})
    if wanted.status.get("state") in GIVEN_UP:
        return _steady(wanted)
    ended = wanted.unresolved and wanted.job is not None and finished(wanted.job)  # what it made is not thrown away
    if _timed_out(wanted) and not ended:
        return _stop(wanted, _timeout_message(wanted))
    if wanted.unresolved:
        return _attempt_under_way(wanted)
    return _next_attempt(wanted)


def not_done(seen: Observed, plan: Plan, error: TunecastError) -> Plan:
    """A step of ``plan`` failed, and is tried again: an end that is known stands, else only the reason moves."""
    if plan.status.get("state") in {"Ready", *GIVEN_UP}:
        job = {"job": attempt_name(dict(seen.cache), seen.attempt)} if seen.unresolved else {}
        return replace(plan, actions=(), status={**plan.status, **job}, requeue_seconds=RETRY_SECONDS)
    if seen.wanted_by:
        seen = replace(seen, cache={**seen.cache, "status": _wanted_status(seen)})
    return _waiting(seen, error)


def _wanted_status(seen: Observed) -> dict[str, Any]:
    status = {"state": "Pending", **seen.status}
    if status["state"] == "Ready":  # its bundle is gone from the store, so all but the attempts' number begins anew
        kept: dict[str, Any] = {k: v for k, v in status.items() if k in {"attempt", "job", "conditions"}}
        status = {"state": "Pending", **kept}
    status["referredBy"] = sorted(seen.wanted_by)
    status.pop("unwantedSince", None)
    status.setdefault("queuedSince", times.text(seen.now))
    return status


# --- an end -----------------------------------------------------------------------------------------------------------


def _ready(seen: Observed, published: Published) -> Plan:
    status = {
        **seen.status,
        **bundle_status(published.manifest),
        "state": "Ready",
        "referredBy": sorted(seen.wanted_by),
    }
    status |= {"manifest": published.digest, "signer": published.signer, "progress": None, **_accounted(seen)}
    running = seen.unresolved and _still_there(seen)  # another cache of this key was faster
    status["job"] = attempt_name(dict(seen.cache), seen.attempt) if running else ""
    status.setdefault("finishedAt", times.text(seen.now))
    message = f"{status['size']}, made {published.manifest.created}: cold {status['cold']}, warm {status['warm']}"
    conditions = (
        Condition(c.READY, "True", c.PUBLISHED, message),
        Condition(c.RECONCILING, "False", c.IDLE, ""),
        Condition(c.STALLED, "False", c.IDLE, ""),
    )
    if running:
        return _forgetting(seen, Plan(_delete_job(seen), _clean(status), conditions, 2.0))
    actions = () if seen.status.get("state") == "Ready" and not seen.unresolved else _to_rest(seen)
    return _forgetting(seen, Plan(actions, _clean(status), conditions))


def _blamed(seen: Observed, digest: str) -> str:
    if why := to_blame(seen.crashes, digest):
        return f"{why}: replicas start cold. Raise spec.tuning.generation to tune again"
    if digest in seen.quarantined:
        return "the bundle of this key was quarantined: replicas start cold. Raise spec.tuning.generation to tune again"
    return ""


def _quarantined(ready: Plan, why: str) -> Plan:
    """What a cache that is ready says, but that nobody starts from it any more."""
    status = {**ready.status, "state": "Quarantined"}
    return replace(ready, status=status, conditions=_ended_conditions(c.QUARANTINED, why))


def _still_ready(seen: Observed) -> Plan:
    """The store doesn't answer now; what was published is not in doubt."""
    old = c.find(seen.status, c.READY)
    conditions = (
        Condition(c.READY, "True", str(old.get("reason", c.PUBLISHED)), str(old.get("message", ""))),
        Condition(c.RECONCILING, "False", c.IDLE, ""),
        Condition(c.STALLED, "False", c.IDLE, ""),
    )
    status = {**seen.status, "referredBy": sorted(seen.wanted_by)}
    return _forgetting(seen, Plan((), _clean(status), conditions))


def _unwanted(seen: Observed) -> Plan:
    """Its Job holds GPUs that nobody asks for any more, so it goes at once; what is known stays for a day."""
    if not seen.status and times.seconds_since(seen.cache["metadata"].get("creationTimestamp"), seen.now) < NEW_SECONDS:
        return Plan((), {}, (), NEW_SECONDS)  # whoever made it has yet to say so
    if seen.unresolved and _still_there(seen):
        conditions = _conditions(seen, c.UNWANTED, "no InferenceDeployment refers to it")
        return Plan(_delete_job(seen), _clean(_ending(seen)), conditions, 2.0)
    status = {**seen.status, **_accounted(seen), "referredBy": [], "job": "", "progress": None}
    if status.get("state") in GIVEN_UP:  # why it gave up is what the next one to want it must hear
        return _forgetting(seen, replace(_steady(seen), status=_clean(status)))
    status |= {"state": "Pending", "queuedSince": None, "startedAt": None}
    actions = _to_rest(seen) if seen.unresolved or "unwantedSince" not in seen.status else ()
    message = "no InferenceDeployment refers to it"
    return _forgetting(seen, Plan(actions, _clean(status), _conditions(seen, c.UNWANTED, message)))


def _forgetting(seen: Observed, plan: Plan) -> Plan:
    """Starts, keeps or ends the day after which an unwanted cache is deleted."""
    status = dict(plan.status)
    if seen.wanted_by:
        status.pop("unwantedSince", None)
        return replace(plan, status=status)
    since = status.setdefault("unwantedSince", times.text(seen.now))
    left = FORGET_AFTER.total_seconds() - times.seconds_since(since, seen.now)
    if left <= 0:
        return replace(plan, actions=(*plan.actions, DeleteCache()), status=status)
    return replace(plan, status=status, requeue_seconds=left if plan.requeue_seconds is None else plan.requeue_seconds)


def _steady(seen: Observed) -> Plan:
    old = c.find(seen.status, c.READY)
    reason, message = str(old.get("reason", c.ATTEMPTS_EXHAUSTED)), str(old.get("message", ""))
    actions = _to_rest(seen) if seen.unresolved else ()  # the store failed before
    return Plan(actions, _clean({**seen.status, "job": ""}), _ended_conditions(reason, message))


def _end(seen: Observed, state: str, reason: str, message: str, **status: Any) -> Plan:
    ended = {**seen.status, "state": state, "job": "", "progress": None, "nextAttemptAt": None, **status}
    ended |= {**_accounted(seen), "finishedAt": times.text(seen.now)}
    return Plan(_to_rest(seen), _clean(ended), _ended_conditions(reason, message))


def _ended_conditions(reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition(c.READY, "False", reason, message, warning=True),
        Condition(c.RECONCILING, "False", c.IDLE, ""),
        Condition(c.STALLED, "True", reason, message, warning=True),
    )


# --- an attempt under way ---------------------------------------------------------------------------------------------


def _attempt_under_way(seen: Observed) -> Plan:
    if seen.job is None:
        if seen.pods:
            return Plan((), seen.status, _conditions(seen, c.RETRYING, "its Job was deleted; its pods are ending"), 2.0)
        name = attempt_name(dict(seen.cache), seen.attempt)
        return _retry(seen, Outcome("Disrupted", JOB_DELETED, f"somebody deleted the Job {name}"))
    if finished(seen.job):
        return _attempt_ended(seen)
    return _attempt_running(seen)


def _attempt_ended(seen: Observed) -> Plan:
    if seen.store_error:
        return _waiting(seen, seen.store_error)
    outcome = classify(seen.job or {}, seen.pods, seen.results)
    if outcome.kind == "Rejected":
        return _end(seen, "Failed", outcome.reason, outcome.message, lastFailure=_failure(seen, outcome))
    if outcome.kind != "Succeeded":
        return _retry(seen, outcome)
    if seen.publish_error:
        return _retry(seen, Outcome("Crashed", seen.publish_error.reason, str(seen.publish_error)))
    result = seen.results[0]
    if result.proof and not result.proof.effective:
        why = ineffective_because(result.proof)
        return _end(seen, "Ineffective", c.INEFFECTIVE, why, **proof_status(result.proof), notes=None)
    status = {**seen.status, "state": "Publishing", "attempt": seen.attempt, "progress": None}
    conditions = _conditions(seen, c.PUBLISHING, "the Job proved its bundle; it is being signed and published")
    return Plan((Publish(seen.attempt, _with_image(seen, result)),), _clean(status), conditions, 0.0)


def _with_image(seen: Observed, result: RankResult) -> RankResult:
    image = next((image_id(pod) for pod in seen.pods if rank_of(pod) == 0), "")
    return replace(result, provenance=result.provenance and replace(result.provenance, image_id=image or None))


def _attempt_running(seen: Observed) -> Plan:
    status = {**seen.status, "attempt": seen.attempt, "job": attempt_name(dict(seen.cache), seen.attempt)}
    running = sum(_engine_started(pod) for pod in seen.pods) >= seen.spec.ranks  # some of them can only wait
    why = blocked(seen.pods, seen.job) or _no_pods(seen)
    if running and not status.get("startedAt"):
        status["startedAt"] = times.text(seen.now)
    status["state"] = "Tuning" if running else "Pending"
    if seen.progress:
        status["progress"] = {
            "stage": seen.progress.stage,
            "seconds": round(seen.progress.seconds),
            "bytes": seen.progress.bytes,
        }
    actions: tuple[Action, ...] = ()
    if times.seconds_since(status.get("settingsRenewedAt"), seen.now) > RENEW_AFTER.total_seconds():
        actions, status["settingsRenewedAt"] = (RenewSettings(seen.attempt),), times.text(seen.now)
    conditions = _conditions(seen, *_running_reason(seen, running=running, why=why))
    return Plan(actions, _clean(status), conditions, POLL_SECONDS)


def _running_reason(seen: Observed, *, running: bool, why: Blocked | None) -> tuple[str, str]:
    if why is None and running:
        return c.TUNING, f"attempt {seen.attempt} runs on {seen.spec.ranks} rank(s)"
    text = f"{why.reason}: {why.message}" if why else "its pods are starting"
    if not running and _queue_overdue(seen):
        limit = seen.spec.queue_timeout
        return c.QUEUE_TIMEOUT, f"not all ranks ran within {limit}: replicas start cold, tuning goes on waiting. {text}"
    if why is None:
        return c.QUEUED, text
    return (c.QUEUED if why.capacity else c.PODS_CANNOT_START), text


def _no_pods(seen: Observed) -> Blocked | None:
    """A quota or an admission webhook keeps pods from being created: only the Job's Events say which."""
    created = (seen.job or {}).get("metadata", {}).get("creationTimestamp")
    if seen.pods or times.seconds_since(created, seen.now) < POLL_SECONDS:
        return None
    name = attempt_name(dict(seen.cache), seen.attempt)
    return Blocked(
        "PodsNotCreated", f"kubectl describe job {name} says why (a quota, or an admission webhook)", capacity=True
    )


# --- the next attempt -------------------------------------------------------------------------------------------------


def _next_attempt(seen: Observed) -> Plan:
    if seen.store_error:
        return _waiting(seen, seen.store_error)
    wait = -times.seconds_since(seen.status.get("nextAttemptAt"), seen.now)
    if seen.status.get("nextAttemptAt") and wait > 0:
        return Plan((), _clean(seen.status), _steady_reason(seen), wait)
    attempt = seen.attempt + 1
    status = {**seen.status, "attempt": attempt, "job": attempt_name(dict(seen.cache), attempt), "nextAttemptAt": None}
    status |= {"state": "Pending", "settingsRenewedAt": times.text(seen.now), "progress": None}
    conditions = _conditions(seen, c.QUEUED, f"attempt {attempt} begins on {seen.spec.ranks} rank(s)")
    return Plan((CreateAttempt(attempt),), _clean(status), conditions, POLL_SECONDS)


def _retry(seen: Observed, outcome: Outcome) -> Plan:
    """Crashes count up to ``attempts``, disruptions up to a hard cap; both wait longer each time."""
    status = {**seen.status, "attempt": seen.attempt, "lastFailure": _failure(seen, outcome)}
    counter = "disruptions" if outcome.kind == "Disrupted" else "failures"
    status[counter] = int(status.get(counter, 0)) + 1
    seen = replace(seen, cache={**seen.cache, "status": status})
    if int(status.get("failures", 0)) >= seen.spec.attempts:
        text = f"all {seen.spec.attempts} attempts failed; the last one: {outcome.message}"
        return _end(seen, "Failed", c.ATTEMPTS_EXHAUSTED, text)
    if int(status.get("disruptions", 0)) >= MAX_DISRUPTIONS:
        return _end(
            seen, "Failed", c.TOO_MANY_DISRUPTIONS, f"{MAX_DISRUPTIONS} disruptions; the last one: {outcome.message}"
        )
    if _timed_out(seen):
        return _end(seen, "Failed", c.TIMED_OUT, _timeout_message(seen))
    wait = backoff_seconds(int(status.get("failures", 0)) + int(status.get("disruptions", 0)))
    status |= {"state": "Pending", "job": "", "progress": None}
    status["nextAttemptAt"] = times.text(seen.now + timedelta(seconds=wait))
    message = f"attempt {seen.attempt} ended ({outcome.reason}: {outcome.message}); the next one begins in {wait:.0f} s"
    return Plan(_end_of_attempt(seen), _clean(status), _conditions(seen, c.RETRYING, message, warning=True), wait)


def backoff_seconds(ends: int) -> float:
    """5, 10, 20, ... seconds after the first, second, third end; five minutes at the most."""
    return float(min(300, 5 * 2 ** min(ends - 1, 10)))


def _stop(seen: Observed, message: str) -> Plan:
    """The time is over: end what runs, then say so."""
    if seen.unresolved and _still_there(seen):
        conditions = _conditions(seen, c.TIMED_OUT, message, warning=True)
        return Plan(_delete_job(seen), _clean(_ending(seen)), conditions, 2.0)
    if seen.store_error:
        return _waiting(seen, seen.store_error)
    return _end(seen, "Failed", c.TIMED_OUT, message)


def _waiting(seen: Observed, error: TunecastError) -> Plan:
    """Nothing can be done until ``error`` is over; replicas don't wait for that longer than their user said."""
    reason, text = error.reason, str(error)
    if seen.wanted_by and _timed_out(seen):
        reason, text = c.TIMED_OUT, f"{_timeout_message(seen)}; replicas start cold. {error}"
    elif seen.wanted_by and not seen.status.get("startedAt") and _queue_overdue(seen):
        reason, text = c.QUEUE_TIMEOUT, f"nothing ran within {seen.spec.queue_timeout}, so replicas start cold. {error}"
    return Plan((), _clean(seen.status), _conditions(seen, reason, text, warning=True), RETRY_SECONDS)


# --- small things -----------------------------------------------------------------------------------------------------


def _conditions(seen: Observed, reason: str, message: str, *, warning: bool = False) -> tuple[Condition, ...]:
    warning = warning or reason in {c.PODS_CANNOT_START, c.QUEUE_TIMEOUT}
    return (
        Condition(c.READY, "False", reason, message, warning),
        Condition(c.RECONCILING, "True" if seen.wanted_by else "False", reason, message),
        Condition(c.STALLED, "False", c.IDLE, ""),
    )


def _steady_reason(seen: Observed) -> tuple[Condition, ...]:
    old = c.find(seen.status, c.READY)
    return _conditions(seen, str(old.get("reason", c.QUEUED)), str(old.get("message", "")), warning=True)


def _end_of_attempt(seen: Observed) -> tuple[Action, ...]:
    return (CleanUpAttempt(seen.attempt),) if seen.attempt else ()


def _ending(seen: Observed) -> dict[str, Any]:
    """Status that remembers the attempt, also where its Job's making was never told: its pods outlive the Job."""
    return {**seen.status, **_accounted(seen), "job": attempt_name(dict(seen.cache), seen.attempt)}


def _to_rest(seen: Observed) -> tuple[Action, ...]:
    """What the newest attempt left goes; where it left nothing, what the next one did that never got to its Job."""
    left = _end_of_attempt(seen) if seen.unresolved else (CleanUpAttempt(seen.attempt + 1),)
    return (*left, DeleteService())


def _accounted(seen: Observed) -> dict[str, int]:
    """The newest attempt, also where the operator ended between making its Job and writing status."""
    return {"attempt": seen.attempt} if seen.attempt else {}


def _still_there(seen: Observed) -> bool:
    """Ranks that still run could stage more: nothing is cleaned up under them."""
    return bool(seen.pods and any(not _ended(pod) for pod in seen.pods)) or bool(seen.job and not finished(seen.job))


def _ended(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def _delete_job(seen: Observed) -> tuple[Action, ...]:
    if seen.job is None or seen.job["metadata"].get("deletionTimestamp"):
        return ()
    return (DeleteJob(seen.job["metadata"]["name"], seen.job["metadata"]["uid"]),)


def _engine_started(pod: Mapping[str, Any]) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return any(s["name"] == ENGINE and s.get("state", {}).keys() & {"running", "terminated"} for s in statuses)


def _queue_overdue(seen: Observed) -> bool:
    """Once ranks ran, each later attempt waits anew."""
    since = seen.status.get("queuedSince")
    if seen.status.get("startedAt") and seen.job:
        since = seen.job["metadata"].get("creationTimestamp")
    return times.seconds_since(since, seen.now) > seen.spec.queue_timeout_seconds


def _timed_out(seen: Observed) -> bool:
    return times.seconds_since(seen.status.get("startedAt"), seen.now) > seen.spec.timeout_seconds


def _timeout_message(seen: Observed) -> str:
    stage = (seen.status.get("progress") or {}).get("stage", "before any progress")
    return f"tuning took longer than {seen.spec.timeout} (stage: {stage}): raise spec.tuning.timeout and generation"


def _failure(seen: Observed, outcome: Outcome) -> dict[str, Any]:
    rank = {} if outcome.rank is None else {"rank": outcome.rank}
    return {"reason": outcome.reason, "message": outcome.message[:2048], "attempt": seen.attempt, **rank}


def _clean(status: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is unset, as the API server keeps it, and without conditions, which are merged on their own."""
    return {k: v for k, v in status.items() if v not in (None, "") and k not in {"conditions", "observedGeneration"}}
