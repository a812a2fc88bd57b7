"""What a user sees when an attempt ends early: a condition, an Event, and replicas that still start."""

from __future__ import annotations

import re

import pytest

from e2e.standin import script, standin
from e2e.steps import cache_of, engine_of, our_events, rank_pods, until_cache
from e2e.world import World
from harness.kubectl import wait_for

# These tests mostly wait, so the tunings of test_quarantine.py and test_restricted.py start here already.
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("crashing", "restricted")]


def replicas(world: World, name: str, namespace: str) -> int:
    return int(world.kubectl.get("deployment", name, "-n", namespace)["spec"]["replicas"])


def test_a_wrong_argument_is_not_retried(world: World) -> None:
    namespace = world.namespace("wrong-argument")
    world.apply("tiny", namespace, container={"args": ["--model=/models/tiny", "--no-such-argument"]})
    found = until_cache(world.kubectl, "tiny", namespace, {"EngineRejectedArguments"}, 300)
    assert "--no-such-argument" in found["message"]
    assert len(world.kubectl.items("jobs", "-n", namespace)) == 1
    assert ("StartupCache", "EngineRejectedArguments") in {
        (kind, reason) for kind, _, reason in our_events(world.kubectl, namespace)
    }
    wait_for(lambda: replicas(world, "tiny", namespace) == 1, "replicas start without a bundle", 30)
    world.kubectl("delete", "namespace", namespace, "--wait=false")


def test_an_image_that_cannot_be_pulled_is_reported_within_two_minutes(world: World) -> None:
    namespace = world.namespace("no-image")
    world.apply("tiny", namespace, container={"image": "localhost/no-such-engine:1"})
    found = until_cache(world.kubectl, "tiny", namespace, {"PodsCannotStart"}, 120)
    assert re.search(r"no-such-engine|ImagePull", found["message"])
    world.kubectl("delete", "namespace", namespace, "--wait=false")


def test_without_capacity_replicas_start_cold_and_tuning_waits(world: World) -> None:
    namespace = world.namespace("no-capacity")
    resources = {"limits": {"nvidia.com/gpu": 1000}}
    world.apply("tiny", namespace, container={"resources": resources}, tuning={"queueTimeout": "15s"})
    found = until_cache(world.kubectl, "tiny", namespace, {"QueueTimeout"}, 90)
    assert "Insufficient nvidia.com/gpu" in found["message"]
    wait_for(lambda: replicas(world, "tiny", namespace) == 1, "replicas may start", 30)
    assert len(world.kubectl.items("jobs", "-n", namespace)) == 1, "tuning still waits"
    world.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_ends_the_attempt_and_the_next_begins(world: World, rank: int) -> None:
    namespace = world.namespace(f"killed-rank-{rank}")
    slow = standin("tiny", namespace, tuning={"ranks": 2})
    engine_of(slow)["args"].append("--start-seconds=60")
    world.kubectl.apply(script(namespace), slow)
    wait_for(lambda: running(world, namespace) == 2, "both ranks run", 120)
    victim = next(
        p
        for p in rank_pods(world.kubectl, namespace)
        if p["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == str(rank)
    )
    world.kubectl("delete", "pod", victim["metadata"]["name"], "-n", namespace, "--grace-period=0", "--force")
    wait_for(
        lambda: cache_of(world.kubectl, "tiny", namespace)["status"].get("disruptions") == 1,
        "a disruption, not a failure",
        60,
    )
    status = cache_of(world.kubectl, "tiny", namespace)["status"]
    assert "failures" not in status
    wait_for(lambda: cache_of(world.kubectl, "tiny", namespace)["status"].get("attempt") == 2, "the next attempt", 60)
    world.kubectl("delete", "infd", "tiny", "-n", namespace)
    wait_for(lambda: not rank_pods(world.kubectl, namespace), "the unwanted Job is deleted at once", 90)


def running(world: World, namespace: str) -> int:
    return sum(pod["status"]["phase"] == "Running" for pod in rank_pods(world.kubectl, namespace))
