from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from support.objects import NOW, inference_deployment, key_in, manifest, snapshot_of, spec_of
from support.serving import observed
from tunecast_core.records.job import Progress
from tunecast_core.records.report import InitReport
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.api.model import seconds
from tunecast_operator.api.startup_cache import StartupCacheSpec, startup_cache
from tunecast_operator.api.status import StartupCacheStatus, status_object
from tunecast_operator.plan import inference_deployment as deployment_plan
from tunecast_operator.plan import startup_cache as cache_plan
from tunecast_operator.plan import tuning
from tunecast_operator.resources.init_container import InitContainer

OWNER = inference_deployment(replicas=2, tuning={"sweep": {"name": "more"}})
SPEC = spec_of(OWNER)
KEY = key_in(OWNER)


@pytest.mark.parametrize(("text", "expected"), [("60m", 3600), ("1h30m", 5400), ("90s", 90), ("1h0m5s", 3605)])
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


def test_a_spec_is_read_with_its_defaults_and_cannot_be_changed() -> None:
    assert (seconds(SPEC.tuning.timeout), seconds(SPEC.tuning.queue_timeout)) == (3600, 600)
    assert SPEC.tuning.sweep is not None
    assert SPEC.tuning.sweep.key == "sweep.jsonl"
    with pytest.raises(ValidationError):
        SPEC.replicas = 3


def test_fields_of_a_later_release_are_ignored() -> None:
    later = {**OWNER["spec"], "plans": {"big": True}}
    assert InferenceDeploymentSpec.model_validate(later) == SPEC


def test_a_snapshot_is_read_as_it_was_written() -> None:
    snapshot = snapshot_of(OWNER)
    again = StartupCacheSpec.model_validate(snapshot).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert {name: again[name] for name in snapshot} == snapshot


def undeclared(value: Any, path: str = "status") -> list[str]:
    """Yields fields that no model declares and that the API server would drop silently."""
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in value.model_fields_set - (value.model_extra or {}).keys()}
        extra = [f"{path}.{name}" for name in value.model_extra or {}]
        return extra + [found for name, field in fields.items() for found in undeclared(field, f"{path}.{name}")]
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in undeclared(item, f"{path}[{i}]")]
    return []


def cache_seen(status: dict[str, Any] | None = None, **changes: Any) -> tuning.ObservedTuning:
    cache = {
        "apiVersion": "tunecast.io/v1alpha2",
        "kind": "StartupCache",
        "metadata": {"name": "kc", "namespace": "models", "uid": "kc-uid", "generation": 1},
    }
    spec = StartupCacheSpec.model_validate(snapshot_of(OWNER))
    return tuning.ObservedTuning(
        cache, spec, StartupCacheStatus.model_validate(status or {}), ["qwen3"], NOW, **changes
    )


JOB = {"metadata": {"name": "kc-1", "uid": "u", "labels": {"tunecast.io/attempt": "1"}}, "status": {"conditions": []}}
POD = {
    "metadata": {"name": "kc-1-0-x", "annotations": {"tunecast.io/container": "engine"}},
    "status": {"phase": "Running", "containerStatuses": [{"name": "engine", "state": {"running": {}}}]},
}
FAILED = {**JOB, "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
PUBLISHED = tuning.Published(manifest(KEY), "d" * 64, "s")
UNDER_WAY = {"state": "Tuning", "attempt": 1, "job": "kc-1"}
CACHE_STATUSES = {
    "new": cache_seen(),
    "running": cache_seen(UNDER_WAY, job=JOB, pods=[POD], progress=Progress("WarmStart", 12.5, 1000)),
    "failed": cache_seen(UNDER_WAY, job=FAILED, pods=[POD]),
    "ready": cache_seen(UNDER_WAY, published=PUBLISHED),
    "unwanted": cache_seen({"state": "Ready"}, published=PUBLISHED),
}


@pytest.mark.parametrize("name", CACHE_STATUSES)
def test_the_crd_has_every_field_of_a_startup_caches_status(name: str) -> None:
    assert undeclared(cache_plan.decide(CACHE_STATUSES[name]).status) == []


def test_the_crd_has_every_field_of_an_inference_deployments_status() -> None:
    cache = {
        "metadata": {"name": "kc"},
        "spec": {"key": KEY},
        "status": {"state": "Ready", "cold": "60s", "warm": "20s"},
    }
    reports = [(KEY, InitReport("Cold", "StoreUnavailable", "no answer", KEY))]
    seen = observed(OWNER, startup_cache(cache), reports=reports)
    status = deployment_plan.decide(seen, InitContainer("init:1"), 1).status
    assert {"cold", "warm", "initReports", "rendered"} <= status_object(status).keys()
    assert undeclared(status) == []
