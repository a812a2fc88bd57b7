"""Installs Tunecast as in a user's cluster with policies, and starts a tuning in each kind of namespace."""

from __future__ import annotations

from typing import Any

from e2e import private_store
from e2e.engines import embedding, keyed
from e2e.standin import script, standin
from e2e.steps import engine_of, tiny, until_cache, until_ready
from e2e.tunings import ONE_LAYER, engine_claim
from e2e.world import World
from harness import deploy, policies
from harness.kubectl import Object

UIDS = "random-uids"
INJECTED, ALWAYS_INJECTED = "injected", "always-injected"
QUOTA, SMALL_DISKS, SHRINKING_DISKS = "quota", "small-disks", "shrinking-disks"
SMALL = "30Mi"
TUNE_SECONDS = 900.0
ENDS = {"Published", "Ineffective", "AttemptsExhausted", "TooManyDisruptions", "TimedOut", "OutOfStorage"}
CPU_LIMIT = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}


def install(world: World) -> None:
    """Installs Tunecast in a namespace with random uids, with its store behind a proxy."""
    policies.install(world.kubectl)
    private_store.begin_proxy(world)
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    world.kubectl.apply(policies.random_uids(deploy.SYSTEM_NAMESPACE, **restricted))
    store = private_store.store(world.environment)
    more: dict[str, Any] = {"resources": CPU_LIMIT}
    deploy.install(world.kubectl, deploy.values(world.environment, s3=store, **more))


def begin(world: World) -> None:
    """Starts all tunings at once, because their tests only wait for them."""
    begin_random_uids(world)
    begin_sidecars(world)
    begin_quota(world)
    begin_small_disks(world)


def until_served(world: World, name: str, namespace: str) -> None:
    """Waits until tuning has ended, with or without a bundle, and replicas are ready. Other tunings run meanwhile."""
    until_cache(world.kubectl, name, namespace, ENDS, TUNE_SECONDS)
    until_ready(world.kubectl, name, namespace, 300)


def begin_random_uids(world: World) -> None:
    """Serves vLLM with an API key, run by a uid that no image knows; its spec does not mention users."""
    world.kubectl.apply(policies.random_uids(UIDS))
    world.kubectl.apply(deploy.s3_secret(UIDS, world.environment), *engine_claim(UIDS))
    secret, found = keyed("keyed", UIDS, tuning={"ranks": 2})
    claim = {"claimName": "vllm", "readOnly": True}
    found["spec"]["template"]["spec"]["volumes"] = [{"name": "vllm", "persistentVolumeClaim": claim}]
    world.kubectl.apply(secret, small(found))


def begin_sidecars(world: World) -> None:
    """Serves vLLM where pods cannot opt out of a sidecar, and the stand-in where they can."""
    world.namespace(ALWAYS_INJECTED, policies.sidecars("always"))
    world.kubectl.apply(small(tiny("tiny", ALWAYS_INJECTED, replicas=1, tuning={"ranks": 1})))
    world.namespace(INJECTED, policies.sidecars("enabled"))
    world.kubectl.apply(script(INJECTED), standin("tiny", INJECTED, replicas=1, tuning={"ranks": 2}))


def begin_quota(world: World) -> None:
    """Serves an embedding engine with all limits that the namespace's quota requires."""
    world.namespace(QUOTA)
    world.kubectl.apply(quota(QUOTA), limit_range(QUOTA, "64Mi"))
    resources = {
        "requests": {"cpu": "100m", "memory": "2Gi", "ephemeral-storage": "64Mi"},
        "limits": {"cpu": "2", "memory": "6Gi", "ephemeral-storage": "4Gi"},
    }
    model, found = embedding("embeddings", QUOTA, replicas=1, tuning={"ranks": 1})
    engine_of(found)["resources"] = resources
    world.kubectl.apply(model, small(found))


def begin_small_disks(world: World) -> None:
    """Serves stand-ins with a default limit on ephemeral storage: one exceeds it, and one stays below it for now."""
    for namespace, size, arguments in (
        (SMALL_DISKS, SMALL, ["--payload=60000000", "--start-seconds=60"]),
        (SHRINKING_DISKS, "1Gi", ["--payload=20000000"]),
    ):
        world.namespace(namespace)
        world.kubectl.apply(limit_range(namespace, size), script(namespace))
        found = standin("tiny", namespace, replicas=1, tuning={"ranks": 1})
        engine_of(found)["args"] += arguments
        world.kubectl.apply(found)


def small(found: Object) -> Object:
    """Changes vLLM for a shared machine: its model has one layer, and its threads are bound to no core."""
    engine = engine_of(found)
    engine["args"].append(ONE_LAYER)
    engine["env"].append({"name": "VLLM_CPU_OMP_THREADS_BIND", "value": "nobind"})
    return found


def quota(namespace: str) -> Object:
    """Returns a quota with which every container must set CPU and memory limits."""
    hard = {"requests.cpu": "4", "limits.cpu": "16", "requests.memory": "16Gi", "limits.memory": "32Gi"}
    metadata = {"name": "tenants", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}


def limit_range(namespace: str, ephemeral: str) -> Object:
    """Returns the default limit of containers that set no limit on ephemeral storage."""
    limits = [{"type": "Container", "default": {"ephemeral-storage": ephemeral}}]
    metadata = {"name": "disks", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": limits}}
