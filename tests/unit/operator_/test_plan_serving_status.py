"""The status and the conditions of an InferenceDeployment."""

from __future__ import annotations

import pytest

from support.objects import (
    inference_deployment,
    key_in,
    pod_template,
    serving_pod,
)
from support.serving import OWNER, condition, lived, plan, serving, startup_cache
from tunecast_core.records.report import InitReport
from tunecast_operator.api.status import DriftProperty, DriftStatus, InitReports, ReasonCount


def test_progress_has_documented_reasons() -> None:
    """docs/troubleshooting.md explains these reasons."""
    new = plan(OWNER)
    assert condition(new, "CacheReady").reason == "WaitingForCache"
    cache = startup_cache(OWNER, "Ready", "Published")
    up = plan(OWNER, cache, live=serving())
    assert [condition(up, kind).reason for kind in ("Ready", "Reconciling", "Stalled")] == [
        "ReplicasReady", "Idle", "Idle",
    ]  # fmt: skip
    starting = {**serving(), "status": {"replicas": 2, "readyReplicas": 1, "observedGeneration": 1}}
    rolling = plan(OWNER, cache, live=starting)
    assert [condition(rolling, kind).reason for kind in ("Ready", "Reconciling")] == ["ReplicasNotReady", "RollingOut"]


def test_init_reports_are_counted() -> None:
    key = key_in(OWNER)
    hit = InitReport("Hit", "Installed", "", key)
    cold = InitReport("Cold", "StoreUnavailable", "no answer", key)
    cache = startup_cache(OWNER, "Ready", "Published")
    mixed = plan(OWNER, cache, live=serving(), reports=[(key, hit), (key, cold)])
    assert mixed.status.init_reports == InitReports(
        counts=[ReasonCount(reason="Installed", count=1), ReasonCount(reason="StoreUnavailable", count=1)],
        last_message="no answer",
    )
    assert "1 started warm, 1 cold (1 StoreUnavailable)" in condition(mixed, "Ready").message
    assert plan(OWNER, cache, live=serving(), reports=[(key, cold)]).status.cache == "Cold"


def test_replicas_on_unknown_hardware_are_counted() -> None:
    key = key_in(OWNER)
    hidden = InitReport("Hit", "Installed", "", key, hardware="unknown", bundle_hardware="nvidia-h100-x86-64")
    known = InitReport("Hit", "Installed", "", key, hardware="nvidia-l4-x86-64", bundle_hardware="nvidia-l4-x86-64")
    cache = startup_cache(OWNER, "Ready", "Published")
    found = plan(OWNER, cache, live=serving(), reports=[(key, hidden), (key, known)]).status.init_reports
    assert found
    assert found.unknown_hardware == 1


def test_ready_reports_the_number_of_ready_replicas() -> None:
    cache = startup_cache(OWNER, "Ready", "Published")
    assert condition(plan(OWNER, cache, live=serving()), "Ready").status == "True"
    partial = {
        **serving(),
        "status": {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2, "observedGeneration": 1},
    }
    assert condition(plan(OWNER, cache, live=partial), "Ready").reason == "ReplicasNotReady"


@pytest.mark.parametrize("size", [0, 3])
def test_without_replicas_the_live_value_is_what_is_desired(size: int) -> None:
    owner = inference_deployment()
    cache = startup_cache(owner, "Ready", "Published")
    released = plan(owner, cache, live=lived(plan(owner), 0))
    assert released.status.desired_replicas == 1
    scaled = plan(owner, cache, live=lived(released, size))
    assert (scaled.status.desired_replicas, condition(scaled, "Ready").status) == (size, "True")


def test_a_revision_that_is_about_to_be_applied_is_not_ready() -> None:
    """Otherwise kubectl wait would return right after kubectl apply."""
    cache = startup_cache(OWNER, "Ready", "Published")
    edited = inference_deployment(replicas=2, template=pod_template(metadata={"annotations": {"team": "a"}}))
    before = plan(edited, cache, live=serving())
    assert [condition(before, kind).status for kind in ("Ready", "Reconciling")] == ["False", "True"]
    after = plan(edited, cache, live=lived(before, 2))
    assert [condition(after, kind).status for kind in ("Ready", "Reconciling")] == ["True", "False"]


def test_drift_is_counted_named_and_a_condition_only_while_it_lasts() -> None:
    image = {"imageID": "vllm@sha256:old"}
    cache = startup_cache(OWNER, "Ready", "Published", madeWith=image)
    pods = [serving_pod(name, "m" * 64, {"imageID": "vllm@sha256:new", "ready": True}) for name in ("a", "b")]
    for found in pods:
        found["metadata"]["labels"] = {"tunecast.io/key": key_in(OWNER)}
    after = plan(OWNER, cache, live=serving(), pods=pods)
    assert after.status.drift == [
        DriftStatus(what=DriftProperty.IMAGE, expected="sha256:old", found="sha256:new", replicas=2)
    ]
    assert (condition(after, "Drifted").reason, condition(after, "Drifted").warning) == ("ImageDiffers", True)
    calm = plan(OWNER, cache, live=serving())
    assert calm.status.drift is None
    assert "Drifted" not in {found.type for found in calm.conditions}
