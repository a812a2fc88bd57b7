"""Computes the plan of an InferenceDeployment in tests."""

from __future__ import annotations

from typing import Any

from support.objects import (
    NOW,
    engine_in,
    inference_deployment,
    pod_template,
    snapshot_of,
    spec_of,
)
from tunecast_operator import times
from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.startup_cache import startup_cache as read
from tunecast_operator.api.status import Rendered, StartupCacheStatus, State, status_object
from tunecast_operator.conditions import Condition, merge
from tunecast_operator.plan.inference_deployment import decide
from tunecast_operator.plan.serving import ObservedServing, ServingPlan
from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.snapshot import cache_name

INIT = InitContainer("init:1")
PYCACHE: dict[str, Any] = {"PYTHONPYCACHEPREFIX": "/var/cache/tunecast/pycache"}


def startup_cache(owner: dict[str, Any], state: str = "Pending", reason: str = "Queued", **status: Any) -> StartupCache:
    """Returns the StartupCache of an InferenceDeployment, with status fields as the API server stores them."""
    snapshot = snapshot_of(owner)
    ready = Condition("Ready", "True" if state == "Ready" else "False", reason, "words")
    conditions, _ = merge((), [ready], 1, times.text(NOW))
    return read(
        {
            "metadata": {"name": cache_name(snapshot), "namespace": "models"},
            "spec": snapshot,
            "status": {**status_object(StartupCacheStatus(state=State(state), conditions=conditions)), **status},
        }
    )


def plan(
    owner: dict[str, Any],
    *caches: StartupCache,
    live: Any = None,
    reports: Any = (),
    init: InitContainer = INIT,
    pods: Any = (),
) -> ServingPlan:
    """Returns the plan for ``owner``, whose Deployment is ``live``."""
    return decide(observed(owner, *caches, live=live, pods=pods, reports=reports), init, 1)


def observed(
    owner: dict[str, Any], *caches: StartupCache, live: Any = None, pods: Any = (), reports: Any = (), **more: Any
) -> ObservedServing:
    """Returns the observed state of ``owner``, whose Deployment is ``live``."""
    spec, engine = spec_of(owner), engine_in(owner)
    return ObservedServing(
        owner=owner, spec=spec, engine=engine, deployment=live, caches=caches, pods=pods, reports=reports, now=NOW,
        **more,
    )  # fmt: skip


def lived(applied: ServingPlan, replicas: int, **status: Any) -> dict[str, Any]:
    """Returns the Deployment that a plan applied, as a later reconciliation observes it."""
    assert applied.apply_deployment
    found = dict(applied.apply_deployment)
    found["spec"] = {**found["spec"], "replicas": replicas}
    found["metadata"] = {**found["metadata"], "generation": 1}
    up = {"replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas, "observedGeneration": 1}
    return {**found, "status": {**up, **status}}


def condition(seen: ServingPlan, kind: str) -> Any:
    return next(c for c in seen.conditions if c.type == kind)


def rendered(seen: ServingPlan) -> Rendered:
    """Returns the revision that serves, from the status."""
    assert seen.status.rendered
    return seen.status.rendered


OWNER = inference_deployment(replicas=2)


def serving(owner: dict[str, Any] = OWNER, **environment: str) -> dict[str, Any]:
    """Returns a live Deployment of two replicas whose StartupCache is Ready."""
    cache = startup_cache(owner, "Ready", "Published", environment=environment)
    return lived(plan(owner, cache, live=lived(plan(owner), 0)), 2)


CHANGED = inference_deployment(replicas=3, template=pod_template("--max-model-len=8192"))
