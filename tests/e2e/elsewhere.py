"""Tunecast as it is installed in other people's clusters, and what is tuned in each kind of their namespaces."""

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
    """The operator's own namespace has random uids too, and its store is behind a proxy."""
    policies.install(world.kubectl)
    private_store.begin_proxy(world)
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    world.kubectl.apply(policies.random_uids(deploy.SYSTEM_NAMESPACE, **restricted))
    store = private_store.store(world.environment)
    more: dict[str, Any] = {"resources": CPU_LIMIT, "initContainer": {"resources": CPU_LIMIT}}
    deploy.install(world.kubectl, deploy.values(world.environment, s3=store, **more))


def begin(world: World) -> None:
    """Every tuning whose tests only wait for it: they share the machine."""
    begin_random_uids(world)
    begin_sidecars(world)
    begin_quota(world)
    begin_small_disks(world)


def until_served(world: World, name: str, namespace: str) -> None:
    """Until what was tuned is published, or isn't for good, and replicas are ready. It waits for other tunings too."""
    until_cache(world.kubectl, name, namespace, ENDS, TUNE_SECONDS)
    until_ready(world.kubectl, name, namespace, 300)


def begin_random_uids(world: World) -> None:
    """vLLM that asks for an API key, run by a user that no image knows: nothing in its spec is about users."""
    world.kubectl.apply(policies.random_uids(UIDS))
    world.kubectl.apply(deploy.s3_secret(UIDS, world.environment), *engine_claim(UIDS))
    secret, found = keyed("keyed", UIDS, tuning={"ranks": 2})
    claim = {"claimName": "vllm", "readOnly": True}
    found["spec"]["template"]["spec"]["volumes"] = [{"name": "vllm", "persistentVolumeClaim": claim}]
    world.kubectl.apply(secret, small(found))


def begin_sidecars(world: World) -> None:
    """vLLM where nobody can opt out of a sidecar, and the stand-in where one can."""
    world.namespace(ALWAYS_INJECTED, policies.sidecars("always"))
    world.kubectl.apply(small(tiny("tiny", ALWAYS_INJECTED, replicas=1, tuning={"ranks": 1})))
    world.namespace(INJECTED, policies.sidecars("enabled"))
    world.kubectl.apply(script(INJECTED), standin("tiny", INJECTED, replicas=1, tuning={"ranks": 2}))


def begin_quota(world: World) -> None:
    """An embedding engine with all limits that the namespace's quota asks for."""
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
    """Stand-ins whose containers get a default limit on ephemeral storage: one takes more, one takes less for now."""
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
    """vLLM for a machine that it shares: a model of one layer, and threads that no other engine's core is bound to."""
    engine = engine_of(found)
    engine["args"].append(ONE_LAYER)
    engine["env"].append({"name": "VLLM_CPU_OMP_THREADS_BIND", "value": "nobind"})
    return found


def quota(namespace: str) -> Object:
    """Every container must say its CPU and memory limits."""
    hard = {"requests.cpu": "4", "limits.cpu": "16", "requests.memory": "16Gi", "limits.memory": "32Gi"}
    metadata = {"name": "tenants", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}


def limit_range(namespace: str, ephemeral: str) -> Object:
    """What a container gets that says nothing of its disk."""
    limits = [{"type": "Container", "default": {"ephemeral-storage": ephemeral}}]
    metadata = {"name": "disks", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": limits}}
