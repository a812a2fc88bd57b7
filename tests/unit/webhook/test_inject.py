"""The fields that injection adds to a pod, and those that it keeps."""

from __future__ import annotations

from typing import Any

import pytest

from support.adopted import NAMESPACE, adopted_pod, around
from tunecast_core.key import MOUNT_PATH
from tunecast_operator.webhook.inject import inject

WHOLE = {"cpu": "8", "memory": "32Gi"}
GUARANTEED = {"limits": WHOLE, "requests": WHOLE}


def init_container(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["spec"]["initContainers"][-1]
    assert found["name"] == "tunecast-init"
    return found


def test_the_pod_gets_what_a_replica_gets() -> None:
    pod = inject(adopted_pod(), NAMESPACE, around())
    (engine,) = pod["spec"]["containers"]
    assert {v["name"]: v.get("value") for v in init_container(pod)["env"]}["TUNECAST_KEY"] == pod["metadata"]["labels"][
        "tunecast.io/key"
    ]
    assert {"name": "VLLM_CACHE_ROOT", "value": f"{MOUNT_PATH}/vllm"} in engine["env"]
    assert {"name": "tunecast-cache", "mountPath": MOUNT_PATH} in engine["volumeMounts"]
    assert engine["startupProbe"]["httpGet"]["path"] == "/health"
    assert pod["metadata"]["annotations"]["tunecast.io/container"] == "engine"


def test_what_its_owner_wrote_stays() -> None:
    before = adopted_pod("--port=9000", startupProbe={"exec": {"command": ["true"]}})
    after = inject(before, NAMESPACE, around())
    (old,), (new,) = before["spec"]["containers"], after["spec"]["containers"]
    assert {n: v for n, v in new.items() if n not in {"env", "volumeMounts"}} == {
        n: v for n, v in old.items() if n not in {"env", "volumeMounts"}
    }
    assert new["volumeMounts"][: len(old["volumeMounts"])] == old["volumeMounts"]
    changed = {"containers", "initContainers", "volumes"}
    assert {n: v for n, v in after["spec"].items() if n not in changed} == {
        n: v for n, v in before["spec"].items() if n not in changed
    }
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]


def test_variables_that_a_ready_bundle_needs_are_set() -> None:
    pod = inject(adopted_pod(), NAMESPACE, around(environment={"PYTHONPYCACHEPREFIX": f"{MOUNT_PATH}/pycache"}))
    (engine,) = pod["spec"]["containers"]
    assert {"name": "PYTHONPYCACHEPREFIX", "value": f"{MOUNT_PATH}/pycache"} in engine["env"]
    assert {v["name"]: v.get("value") for v in init_container(pod)["env"]}["TUNECAST_PYCACHE"] == "true"


@pytest.mark.parametrize(
    ("engine", "init"),
    [
        ({"limits": {**WHOLE, "nvidia.com/gpu": "1"}, "requests": {**WHOLE, "nvidia.com/gpu": "1"}}, GUARANTEED),
        ({"requests": {"memory": "32Gi"}}, {"requests": {"memory": "32Gi", "cpu": "100m"}}),
        ({"limits": {"ephemeral-storage": "9Gi"}}, {
            "limits": {"ephemeral-storage": "9Gi", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"},
        }),
        ({}, {"limits": {"memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}}),
    ],
)  # fmt: skip
def test_the_init_container_asks_for_what_the_engine_asks_for(engine: dict[str, Any], init: dict[str, Any]) -> None:
    assert init_container(inject(adopted_pod(resources=engine), NAMESPACE, around()))["resources"] == init


@pytest.mark.parametrize(
    ("pod", "init"),
    [
        ({"limits": {"cpu": "10m", "memory": "64Mi"}}, {}),
        ({"requests": {"memory": "64Mi"}}, {"requests": {"cpu": "100m"}}),
        ({"limits": {"cpu": "1"}}, {"requests": {"memory": "128Mi"}, "limits": {"memory": "512Mi"}}),
    ],
)
def test_the_init_container_asks_for_nothing_that_the_pod_asks_for_as_a_whole(
    pod: dict[str, Any], init: dict[str, Any]
) -> None:
    adopted = adopted_pod()
    adopted["spec"]["resources"] = pod
    assert init_container(inject(adopted, NAMESPACE, around()))["resources"] == init


def test_what_others_added_to_the_init_container_stays() -> None:
    pod = inject(adopted_pod(), NAMESPACE, around())
    init_container(pod)["env"].append({"name": "AWS_ROLE_ARN", "value": "arn"})
    init_container(pod)["volumeMounts"].append({"name": "aws-iam-token", "mountPath": "/var/run/secrets/eks"})
    pod["spec"]["volumes"].append({"name": "aws-iam-token", "projected": {"sources": []}})
    again = init_container(inject(pod, NAMESPACE, around()))
    assert {"name": "AWS_ROLE_ARN", "value": "arn"} in again["env"]
    assert {"name": "aws-iam-token", "mountPath": "/var/run/secrets/eks"} in again["volumeMounts"]


def test_the_init_container_is_last_after_another_injector_has_added_its_own() -> None:
    pod = inject(adopted_pod(), NAMESPACE, around())
    pod["spec"]["initContainers"].append({"name": "istio-validation", "image": "proxy:1"})
    assert [c["name"] for c in inject(pod, NAMESPACE, around())["spec"]["initContainers"]] == [
        "istio-validation",
        "tunecast-init",
    ]
