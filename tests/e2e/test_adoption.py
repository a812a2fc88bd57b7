"""Pods of other owners start warm with one label: a Helm release, a StatefulSet, and what happens without Tunecast."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from e2e import adopted
from e2e.adopted import NAMESPACE, RELEASE, STATEFUL_SET, STRICT
from e2e.steps import init_report
from e2e.world import World
from harness import deploy
from harness.kubectl import Object, condition, wait_for

pytestmark = pytest.mark.e2e
OF_RELEASE = f"app.kubernetes.io/instance={RELEASE}"
OWNERS = [
    ("Deployment", RELEASE, NAMESPACE, OF_RELEASE),
    ("StatefulSet", STATEFUL_SET, NAMESPACE, f"app={STATEFUL_SET}"),
    ("Deployment", STRICT, STRICT, f"app={STRICT}"),
]


@pytest.fixture(scope="module")
def begun(world: World) -> Iterator[World]:
    adopted.begin(world)
    yield world
    world.kubectl("delete", "namespace", NAMESPACE, STRICT, "--wait=false")


@pytest.mark.parametrize(("kind", "name", "namespace", "selector"), OWNERS, ids=[name for _, name, _, _ in OWNERS])
def test_the_first_pod_is_cold_and_every_later_one_hits(
    begun: World, kind: str, name: str, namespace: str, selector: str
) -> None:
    [first] = adopted.until_ready_pods(begun, selector, 1, namespace)
    assert init_report(first)["result"] == "Cold"
    cache = adopted.until_tuned(begun, adopted.key_of(first), namespace)
    assert (cache["status"]["state"], cache["status"]["verdict"]) == ("Ready", "Hit")
    assert cache["status"]["usedBy"] == [
        {"kind": kind, "name": name, "pods": 1, "hits": 0, "cold": 1, "notInjected": 0}
    ]
    assert condition(cache, "PodsMissed")["reason"] == "StartedBeforeBundle"
    adopted.scale(begun, kind.lower(), name, 2, namespace)
    _, second = adopted.until_ready_pods(begun, selector, 2, namespace)
    assert (init_report(second)["result"], adopted.key_of(second)) == ("Hit", adopted.key_of(first))
    [only] = begun.kubectl.items("startupcaches", "-n", namespace, "-l", f"tunecast.io/key={adopted.key_of(first)}")
    assert only["metadata"]["uid"] == cache["metadata"]["uid"]


def test_an_inference_deployment_of_the_same_pod_has_the_same_key(begun: World) -> None:
    pod = adopted.pods(begun, OF_RELEASE)[0]
    spec = {"replicas": 0, "template": {"spec": adopted.engine_pod()}}
    found = {
        "apiVersion": "tunecast.io/v1alpha2",
        "kind": "InferenceDeployment",
        "metadata": {"name": "ahead", "namespace": NAMESPACE},
        "spec": {**spec, "cache": {"credentialsSecret": {"name": deploy.S3_SECRET}}},
    }
    begun.kubectl.apply(found)

    def key() -> str:
        status: Object = (begun.kubectl.find("infd", "ahead", "-n", NAMESPACE) or {}).get("status") or {}
        return str(status.get("key", ""))

    assert wait_for(key, "the InferenceDeployment has a key", 60) == adopted.key_of(pod)
    begun.kubectl("delete", "infd", "ahead", "-n", NAMESPACE)


def test_upgrades_restarts_and_other_managers_meet_no_conflict_and_no_drift(begun: World) -> None:
    before = deployment(begun)
    adopted.release(begun, replicaCount=2, podAnnotations={"example.com/revision": "2"})
    begun.kubectl("rollout", "status", f"deployment/{RELEASE}", "-n", NAMESPACE, "--timeout=300s", timeout=330)
    begun.kubectl("rollout", "restart", f"deployment/{RELEASE}", "-n", NAMESPACE)
    begun.kubectl("rollout", "status", f"deployment/{RELEASE}", "-n", NAMESPACE, "--timeout=300s", timeout=330)
    labelled = {**named(before), "metadata": {"name": RELEASE, "namespace": NAMESPACE, "labels": {"team": "a"}}}
    apply = ("apply", "--server-side", "--field-manager=another", "--filename=-")
    begun.kubectl(*apply, stdin=json.dumps(labelled))
    after = deployment(begun)
    managers = {entry["manager"] for entry in after["metadata"]["managedFields"]}
    assert managers >= {"helm", "kubectl-rollout", "another"}
    assert not [manager for manager in managers if "tunecast" in manager]
    assert "tunecast" not in json.dumps({**after, "metadata": {}}).replace("tunecast.io/inject", "")
    found = adopted.until_ready_pods(begun, OF_RELEASE, 2)
    assert [init_report(pod)["result"] for pod in found] == ["Hit", "Hit"]


def named(item: Object) -> Object:
    return {name: item[name] for name in ("apiVersion", "kind")}


def deployment(world: World) -> Object:
    return world.kubectl.get("deployment", RELEASE, "-n", NAMESPACE, "--show-managed-fields")


def test_with_the_operator_away_a_new_pod_is_warm(begun: World) -> None:
    adopted.switch(begun, "tunecast", 0)
    adopted.scale(begun, "deployment", RELEASE, 3)
    *_, newest = adopted.until_ready_pods(begun, OF_RELEASE, 3)
    assert init_report(newest)["result"] == "Hit"


def test_with_the_webhook_away_too_a_new_pod_is_cold_and_ready(begun: World) -> None:
    adopted.switch(begun, "tunecast-webhook", 0)
    adopted.scale(begun, "deployment", RELEASE, 4)
    *_, newest = adopted.until_ready_pods(begun, OF_RELEASE, 4)
    assert not adopted.has_init_container(newest)
    assert adopted.key_of(newest) == ""


def test_what_was_missed_is_seen_when_both_are_back(begun: World) -> None:
    adopted.switch(begun, "tunecast-webhook", 2)
    adopted.switch(begun, "tunecast", 1)
    missed = next(pod for pod in adopted.pods(begun, OF_RELEASE) if not adopted.has_init_container(pod))
    key = adopted.key_of(next(pod for pod in adopted.pods(begun, OF_RELEASE) if adopted.has_init_container(pod)))

    def reason() -> bool:
        [cache] = begun.kubectl.items("startupcaches", "-n", NAMESPACE, "-l", f"tunecast.io/key={key}")
        return bool(condition(cache, "PodsMissed").get("reason") == "NotInjected")

    wait_for(reason, "the StartupCache counts the pod that was not injected", 60)
    assert "NotInjected" in begun.kubectl("describe", "pod", missed["metadata"]["name"], "-n", NAMESPACE)
    begun.kubectl("delete", "pod", missed["metadata"]["name"], "-n", NAMESPACE)
    *_, newest = adopted.until_ready_pods(begun, OF_RELEASE, 4)
    assert init_report(newest)["result"] == "Hit"
