"""Pods of the real LeaderWorkerSet controller start warm with one label."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from e2e import adopted, leader_worker_set
from e2e.leader_worker_set import CRASHING, NAMESPACE, SERVED, pods_of
from e2e.steps import init_report
from e2e.world import World
from harness.kubectl import Object, wait_for

pytestmark = pytest.mark.e2e
PODS = pods_of(SERVED)
CRASH_SECONDS = 240.0  # two pods with a grace period of 30 s


@pytest.fixture(scope="module")
def begun(world: World) -> Iterator[World]:
    leader_worker_set.install(world)
    leader_worker_set.begin(world)
    yield world
    world.kubectl("delete", "leaderworkerset", "--all", "-n", NAMESPACE)
    world.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    world.kubectl.helm("uninstall", "lws", "--namespace", leader_worker_set.SYSTEM_NAMESPACE)


def caches(world: World, key: str) -> list[Object]:
    return world.kubectl.items("startupcaches", "-n", NAMESPACE, "-l", f"tunecast.io/key={key}")


def test_the_first_group_is_cold_and_every_later_one_hits(begun: World) -> None:
    [first] = adopted.until_ready_pods(begun, PODS, 1, NAMESPACE)
    assert init_report(first)["result"] == "Cold"
    cache = adopted.until_tuned(begun, adopted.key_of(first), NAMESPACE)
    assert (cache["status"]["state"], cache["status"]["verdict"]) == ("Ready", "Hit")
    assert cache["status"]["usedBy"] == [
        {"kind": "LeaderWorkerSet", "name": SERVED, "pods": 1, "hits": 0, "cold": 1, "notInjected": 0}
    ]
    adopted.scale(begun, "leaderworkerset", SERVED, 2, NAMESPACE)
    _, second = adopted.until_ready_pods(begun, PODS, 2, NAMESPACE)
    assert (init_report(second)["result"], adopted.key_of(second)) == ("Hit", adopted.key_of(first))
    [only] = caches(begun, adopted.key_of(first))
    assert only["metadata"]["uid"] == cache["metadata"]["uid"]


def test_used_by_counts_the_pods_of_every_group(begun: World) -> None:
    [first, _] = adopted.pods(begun, PODS, NAMESPACE)
    every = [{"kind": "LeaderWorkerSet", "name": SERVED, "pods": 2, "hits": 1, "cold": 1, "notInjected": 0}]
    key = adopted.key_of(first)
    wait_for(lambda: caches(begun, key)[0]["status"].get("usedBy") == every, "usedBy counts both pods", 60)


def test_a_replica_has_what_both_webhooks_add_and_a_rank_knows_no_group(begun: World) -> None:
    *_, newest = adopted.until_ready_pods(begun, PODS, 2, NAMESPACE)
    [engine] = newest["spec"]["containers"]
    variables = {variable["name"]: variable.get("value") for variable in engine["env"]}
    assert variables["LWS_LEADER_ADDRESS"] == f"{SERVED}-1.{SERVED}.{NAMESPACE}"
    assert variables["VLLM_CACHE_ROOT"].startswith("/var/cache/tunecast/")
    [cache] = caches(begun, adopted.key_of(newest))
    assert "leaderworkerset" not in json.dumps(cache["spec"])
    assert f"{SERVED}-0" not in json.dumps(cache["spec"])


def test_a_bundle_is_quarantined_although_no_pod_lives_to_crash_twice(begun: World) -> None:
    """The controller replaces a pod as soon as one of its containers restarts."""
    [first] = adopted.until_ready_pods(begun, pods_of(CRASHING), 1, NAMESPACE)
    assert init_report(first)["result"] == "Cold"
    key = adopted.key_of(first)
    assert adopted.until_tuned(begun, key, NAMESPACE)["status"]["state"] == "Ready"
    begun.kubectl("delete", "pod", first["metadata"]["name"], "-n", NAMESPACE)
    wait_for(
        lambda: caches(begun, key)[0]["status"]["state"] == "Quarantined", "the bundle is quarantined", CRASH_SECONDS
    )
    [last] = adopted.until_ready_pods(begun, pods_of(CRASHING), 1, NAMESPACE)
    assert (init_report(last)["result"], init_report(last)["reason"]) == ("Cold", "Quarantined")
