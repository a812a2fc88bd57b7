"""The templates that roll out once replicas may start."""

from __future__ import annotations

from typing import Any

import pytest

from support.objects import ENGINE, inference_deployment, pod_template
from support.serving import CHANGED, OWNER, PYCACHE, lived, plan, rendered, serving, startup_cache
from tunecast_operator.identity import CONTAINER_ANNOTATION
from tunecast_operator.resources.init_container import ContainerSettings, InitContainer
from tunecast_operator.resources.revision import revision_of


def test_then_the_new_one_rolls_out() -> None:
    caches = (
        startup_cache(OWNER, "Ready", "Published"),
        startup_cache(CHANGED, "Ready", "Published", environment=PYCACHE),
    )
    after = plan(CHANGED, *caches, live=serving())
    assert after.apply_deployment is not None
    assert rendered(after).environment == PYCACHE


LATER = InitContainer("init:2", "Always", ContainerSettings({"limits": {"cpu": "1"}}, {}, ({"name": "A"},)))


def test_an_operator_upgrade_or_other_chart_values_change_no_template_and_no_key() -> None:
    cache = startup_cache(OWNER, "Ready", "Published")
    upgraded = plan(OWNER, cache, live=serving(), init=LATER)
    assert upgraded.apply_deployment is not None
    assert upgraded.apply_deployment["spec"] == serving()["spec"]
    edited = inference_deployment(replicas=2, template=pod_template(metadata={"labels": {"team": "a"}}))
    revision = revision_of(plan(edited, cache, live=serving(), init=LATER).apply_deployment)
    assert revision is not None
    assert revision.init == LATER


REFUSED = {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "words"}]}
UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
STARTED = {"state": {"running": {"startedAt": "2026-01-01T10:00:00Z"}}}


def waits(reason: str, name: str = "tunecast-init") -> dict[str, Any]:
    """Status of a pod of which one container waits."""
    return {"initContainerStatuses": [{"name": name, "state": {"waiting": {"reason": reason}}}]}


def replica(**status: Any) -> dict[str, Any]:
    metadata = {"name": "p", "uid": "u", "annotations": {CONTAINER_ANNOTATION: ENGINE}}
    return {"metadata": metadata, "status": status}


def engine_is(**status: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": ENGINE, **status}]}


@pytest.mark.parametrize(
    ("status", "pods", "replicas", "corrected"),
    [
        (REFUSED, [], 2, True),
        ({}, [replica(**waits("ImagePullBackOff"))], 2, True),
        ({}, [replica(**waits("CrashLoopBackOff"), **engine_is(state={"waiting": {}}))], 2, True),
        ({}, [replica(conditions=UNSCHEDULABLE)], 2, True),
        (REFUSED, [replica(phase="Failed", reason="Evicted", **engine_is(**STARTED))], 2, True),
        (REFUSED, [], 0, False),
        (REFUSED | {"readyReplicas": 1}, [], 2, False),
        (REFUSED, [replica(**engine_is(**STARTED))], 2, False),
        ({}, [replica(**waits("ImagePullBackOff")), replica(**engine_is(**STARTED))], 2, False),
        ({}, [replica(**waits("PodInitializing"))], 2, False),
        ({}, [replica(**waits("ImagePullBackOff", "weights"))], 2, False),
        ({}, [replica(phase="Pending")], 2, False),
        ({}, [], 2, False),
    ],
    ids=[
        "its pods are refused", "its image can't be pulled", "it fails again and again", "no node has room for it",
        "evicted pods don't count", "zero replicas are wanted", "a replica is ready", "an engine starts meanwhile",
        "another pod's engine starts", "it is being created", "another init container can't start",
        "the pod is being scheduled", "no pod has been observed",
    ],
)  # fmt: skip
def test_a_corrected_init_container_replaces_one_that_keeps_all_pods_from_starting(
    status: dict[str, Any], pods: list[dict[str, Any]], replicas: int, corrected: bool
) -> None:
    cache = startup_cache(OWNER, "Ready", "Published")
    live = serving()
    live["spec"]["replicas"] = replicas
    live["status"] = {"replicas": len(pods), **status}
    after = plan(OWNER, cache, live=live, init=LATER, pods=pods)
    revision, before = revision_of(after.apply_deployment), revision_of(live)
    assert revision
    assert before
    assert revision.init == (LATER if corrected else before.init)
    assert (revision.key, revision.key_version) == (before.key, before.key_version)


def test_a_corrected_init_container_reaches_a_template_of_another_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    live, cache = serving(), startup_cache(OWNER, "Ready", "Published")
    monkeypatch.setattr("tunecast_operator.plan.rollout.RENDERER", 99)
    corrected = plan(OWNER, cache, live={**live, "status": REFUSED}, init=LATER)
    revision = revision_of(corrected.apply_deployment)
    assert revision
    assert revision.init == LATER


def test_a_template_of_another_renderer_stays_and_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    live, cache = serving(), startup_cache(OWNER, "Ready", "Published")
    monkeypatch.setattr("tunecast_operator.plan.rollout.RENDERER", 99)
    scaled = plan(inference_deployment(replicas=5), cache, live=live)
    assert (scaled.apply_deployment, scaled.scale) == (None, 5)


def test_without_replicas_the_live_value_is_kept_and_left_to_its_owner() -> None:
    owner = inference_deployment()
    cache = startup_cache(owner, "Ready", "Published")
    released = plan(owner, cache, live=lived(plan(owner), 0))
    assert released.apply_deployment is not None
    assert released.apply_deployment["spec"]["replicas"] == 1
    live = lived(released, 5)
    live["metadata"]["managedFields"] = [{"manager": "hpa", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    scaled = plan(owner, cache, live=live).apply_deployment
    assert scaled is not None
    assert "replicas" not in scaled["spec"]


def test_a_held_deployment_that_an_administrator_scaled_keeps_its_replicas_and_its_template() -> None:
    """Without replicas in the spec, the last writer owns their number."""
    owner = inference_deployment()
    held = plan(owner)
    scaled = lived(held, 3)
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    scaled["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": fields}]
    released = plan(owner, startup_cache(owner, "Tuning", "Tuning"), live=scaled)
    assert released.apply_deployment
    assert "replicas" not in released.apply_deployment["spec"]
    assert held.apply_deployment
    assert released.apply_deployment["spec"]["template"] == held.apply_deployment["spec"]["template"]
    assert released.status.desired_replicas == 3


def test_clients_reach_the_old_revision_until_the_new_port_rolls_out() -> None:
    ports = [{"name": "api", "containerPort": 9000}]
    moved = inference_deployment(replicas=2, template=pod_template("--port=9000", "--dtype=half", ports=ports))
    during = plan(moved, live=serving())
    assert during.apply_deployment is None
    assert during.service
    assert during.service["spec"]["ports"][0]["port"] == 8000
    after = plan(moved, startup_cache(moved, "Ready", "Published"), live=serving())
    assert after.service
    assert [(p["port"], p["targetPort"]) for p in after.service["spec"]["ports"]] == [(9000, "api")]


def test_a_new_revision_of_a_quarantined_key_starts_cold_at_once() -> None:
    held = lived(plan(OWNER), 0)
    after = plan(OWNER, startup_cache(OWNER, "Quarantined", "Quarantined", manifest="m" * 64), live=held)
    assert after.apply_deployment is not None
    assert after.apply_deployment["spec"]["replicas"] == 1 or OWNER["spec"].get("replicas")
    assert rendered(after).environment == {}
