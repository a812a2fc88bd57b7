"""What still happens to the live revision while its InferenceDeployment can't be rolled out."""

from __future__ import annotations

from typing import Any

import pytest

from support.objects import inference_deployment, serving_pod
from support.serving import OWNER, condition, lived, plan, serving
from tunecast_operator.api.status import InferenceDeploymentStatus, status_object
from tunecast_operator.plan.crashes import crashes
from tunecast_operator.plan.serving import ObservedReplicas, ServingPlan
from tunecast_operator.plan.stalled import decide

CRASHED = {
    "state": {
        "terminated": {"exitCode": 139, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:01:00Z"}
    }
}
UNREADABLE = inference_deployment(replicas=5, template={"spec": {"containers": 7}})


def stalled(owner: dict[str, Any], live: dict[str, Any] | None, pods: Any = ()) -> ServingPlan:
    seen = ObservedReplicas(owner=owner, deployment=live, caches=[], pods=pods, crashes=crashes(pods))
    return decide(seen, "InvalidSpec", "spec.template: correct it")


def without_replicas() -> dict[str, Any]:
    spec = {field: value for field, value in UNREADABLE["spec"].items() if field != "replicas"}
    return {**UNREADABLE, "spec": spec}


@pytest.mark.parametrize(
    ("owner", "live", "scale"),
    [
        (UNREADABLE, serving(), 5),
        (UNREADABLE, lived(plan(OWNER), 0), None),
        (without_replicas(), serving(), None),
        (inference_deployment(replicas=2), serving(), None),
        (UNREADABLE, {**serving(), "metadata": {"name": "qwen3"}}, None),
        (UNREADABLE, None, None),
    ],
    ids=[
        "another number of replicas", "replicas wait for their bundle", "an autoscaler sets the number",
        "the number is right", "the live revision can't be read", "nothing serves",
    ],
)  # fmt: skip
def test_the_live_revision_scales(owner: dict[str, Any], live: dict[str, Any] | None, scale: int | None) -> None:
    after = stalled(owner, live)
    assert (after.scale, after.apply_deployment, after.create_caches) == (scale, None, ())


def test_status_keeps_the_last_spec_and_counts_the_replicas() -> None:
    known = status_object(InferenceDeploymentStatus(replicas=9, key="k", model="m"))
    after = stalled({**UNREADABLE, "status": known}, serving()).status
    assert (after.key, after.model) == ("k", "m")
    assert (after.replicas, after.ready_replicas, after.desired_replicas) == (2, 2, 5)


def test_conditions_show_why_the_spec_cannot_be_rolled_out() -> None:
    after = stalled(UNREADABLE, serving())
    found = condition(after, "Stalled")
    assert (found.status, found.reason, found.message) == ("True", "InvalidSpec", "spec.template: correct it")
    assert condition(after, "Ready").status == "False"


def test_clients_still_reach_the_live_revision() -> None:
    service = stalled(UNREADABLE, serving()).service
    assert service
    assert service["spec"]["ports"][0]["port"] == 8000


def test_a_bundle_that_crashes_the_live_revision_is_quarantined() -> None:
    pods = [serving_pod(name, "m" * 64, CRASHED) for name in ("a", "b")]
    after = stalled(UNREADABLE, serving(), pods).protection
    assert after.quarantine.digests == ("m" * 64,)
    assert [crash.pod for crash in after.replace] == ["a", "b"]
