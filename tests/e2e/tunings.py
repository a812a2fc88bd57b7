"""Tunings whose tests check verdicts, not times, so that they can share the machine with other tests."""

from __future__ import annotations

from e2e.standin import script, standin
from e2e.steps import engine_of, environment_without, tiny
from e2e.world import World
from harness.kubectl import Object

ONE_LAYER = '--hf-overrides={"num_hidden_layers": 1}'  # fewer kernels to build, the same verdicts
HEADER = "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"


def one_layer() -> list[str]:
    """Returns the demo's arguments for a model of one layer."""
    return [*engine_of(tiny("x", "x"))["args"], ONE_LAYER]


def begin_restricted(world: World, namespace: str) -> None:
    """Serves vLLM with its defaults, as an unknown uid, in a namespace with the restricted Pod Security profile."""
    world.namespace(namespace, {"pod-security.kubernetes.io/enforce": "restricted"})
    world.kubectl.apply(*engine_claim(namespace))
    pod = {
        "volumes": [{"name": "vllm", "persistentVolumeClaim": {"claimName": "vllm", "readOnly": True}}],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1234, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    container = {
        "args": one_layer(),
        "env": [
            *environment_without("VLLM_USE_AOT_COMPILE", HEADER),
            {"name": "HOME", "value": "/tmp"},
            {"name": "USER", "value": "engine"},
        ],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    world.apply("tiny", namespace, pod=pod, container=container, tuning={"ranks": 1})


def begin_crashing(world: World, namespace: str) -> None:
    """Serves an engine whose warm starts succeed in ranks and crash in replicas."""
    world.namespace(namespace)
    world.kubectl.apply(script(namespace))
    found = standin("tiny", namespace, replicas=2, tuning={"ranks": 1})
    engine_of(found)["args"].append("--crash-as-replica")
    world.kubectl.apply(found)


def engine_claim(namespace: str) -> tuple[Object, Object]:
    """Returns a volume claim of /opt/vllm, for namespaces that forbid hostPath."""
    size, modes = {"storage": "10Gi"}, ["ReadOnlyMany"]
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"vllm-{namespace}"},
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
        "metadata": {"name": "vllm", "namespace": namespace},
        "spec": {
            "accessModes": modes,
            "storageClassName": "",
            "volumeName": f"vllm-{namespace}",
            "resources": {"requests": size},
        },
    }
    return volume, claim
