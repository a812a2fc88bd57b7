"""A namespace that enforces the restricted Pod Security profile, and an engine that runs as nobody in particular."""

from __future__ import annotations

import pytest

from e2e.conftest import World
from e2e.steps import cache_of, environment_without, init_report, serving_pods, until_cache, until_ready
from harness.kubectl import Object

pytestmark = pytest.mark.e2e
NAMESPACE, NAME = "restricted", "tiny"


def engine_volume() -> tuple[Object, Object]:
    """/opt/vllm as a claim: hostPath itself is forbidden there."""
    size, modes = {"storage": "10Gi"}, ["ReadOnlyMany"]
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "vllm"},
        "spec": {
            "capacity": size,
            "accessModes": modes,
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": "/opt/vllm"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "vllm", "namespace": NAMESPACE},
        "spec": {"accessModes": modes, "storageClassName": "", "volumeName": "vllm", "resources": {"requests": size}},
    }
    return volume, claim


def test_a_restricted_engine_is_tuned_and_starts_warm(world: World) -> None:
    world.namespace(NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})
    world.kubectl.apply(*engine_volume())
    pod = {
        "volumes": [{"name": "vllm", "persistentVolumeClaim": {"claimName": "vllm", "readOnly": True}}],
        "volumeMounts": [{"name": "vllm", "mountPath": "/opt/vllm", "readOnly": True}],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1234, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    engine = {
        "env": [
            *environment_without("TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"),
            {"name": "HOME", "value": "/tmp"},
            {"name": "USER", "value": "engine"},
        ],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    world.apply(NAME, NAMESPACE, pod=pod, engine=engine, tuning={"ranks": 1})
    until_cache(world.kubectl, NAME, NAMESPACE, {"Published", "Ineffective", "AttemptsExhausted", "QueueTimeout"})
    until_ready(world.kubectl, NAME, NAMESPACE)
    status = cache_of(world.kubectl, NAME, NAMESPACE)["status"]
    assert (status["verdict"], status["proof"]["mode"]) == ("Hit", "SamePod")
    [replica] = serving_pods(world.kubectl, NAME, NAMESPACE)
    assert init_report(replica)["result"] == "Hit"
    world.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
