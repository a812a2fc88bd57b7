"""Builds the observed state of a StartupCache, from which its plan decides."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from support.objects import ENGINE, NOW, inference_deployment, key_in, proof, snapshot_of
from tunecast_core.errors import StoreUnavailableError
from tunecast_core.records.job import RankResult
from tunecast_operator import times
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.api.status import StartupCacheStatus, status_object
from tunecast_operator.conditions import Condition, merge
from tunecast_operator.identity import CONTAINER_ANNOTATION
from tunecast_operator.plan.tuning import (  # fmt: skip
    CleanUpAttempt,
    DeleteService,
    ObservedTuning,
    TuningPlan,
)

OWNER = inference_deployment(tuning={"ranks": 2, "attempts": 2, "queueTimeout": "10m", "timeout": "60m"})


KEY = key_in(OWNER)


SPEC = StartupCacheSpec.model_validate(snapshot_of(OWNER))


RESULT = RankResult(0, succeeded=True, reason="Proved", message="", proof=proof())


def seen(status: StartupCacheStatus | dict[str, Any] | None = None, **changes: Any) -> ObservedTuning:
    """Returns the observed state of a StartupCache whose status is ``status``, or its JSON."""
    cache = {
        "apiVersion": "tunecast.io/v1alpha2",
        "kind": "StartupCache",
        "metadata": {"name": "kc", "namespace": "models", "uid": "kc-uid", "generation": 1},
    }
    return replace(
        ObservedTuning(cache, SPEC, StartupCacheStatus.model_validate(status or {}), ["qwen3"], NOW), **changes
    )


def job(attempt: int = 1, end: str = "", **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": end, "status": "True"}] if end else []
    labels = {"tunecast.io/attempt": str(attempt)}
    return {
        "metadata": {"name": f"kc-{attempt}", "uid": "job-uid", "labels": labels, **metadata},
        "spec": {"completions": 2},
        "status": {"conditions": conditions},
    }


def pod(state: str = "running", phase: str = "Running", **status: Any) -> dict[str, Any]:
    statuses = [{"name": "engine", "state": {state: {}}}]
    metadata = {"name": "kc-1-0-x", "annotations": {CONTAINER_ANNOTATION: ENGINE}}
    return {"metadata": metadata, "status": {"phase": phase, "containerStatuses": statuses, **status}}


RUNNING = [pod(), pod()]


WAITING = pod(
    "waiting",
    "Pending",
    conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}],
)


NEVER_BEGAN = (CleanUpAttempt(1), DeleteService())  # leftovers of an attempt whose Job was never created


def ready(plan: TuningPlan) -> Condition:
    return plan.conditions[0]


def kept(plan: TuningPlan) -> dict[str, Any]:
    """Returns the status that the API server stores after ``plan``."""
    conditions, _ = merge((), plan.conditions, 1, times.text(NOW))
    return status_object(plan.status | StartupCacheStatus(conditions=conditions))


def last_failure(plan: TuningPlan) -> str:
    """Returns the reason of the last failed attempt."""
    return plan.status.last_failure.reason if plan.status.last_failure else ""


UNDER_WAY = {
    "state": "Tuning",
    "attempt": 1,
    "job": "kc-1",
    "startedAt": times.text(NOW),
    "settingsRenewAt": times.text(NOW + timedelta(hours=2)),
}


REJECTED = {0: RankResult(0, succeeded=False, reason="EngineRejectedArguments", message="words")}


LATE = {**UNDER_WAY, "startedAt": times.text(NOW - timedelta(minutes=61))}


DOWN = StoreUnavailableError("no answer")
