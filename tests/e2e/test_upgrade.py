"""An upgrade from other images of the operator rolls no replica and tunes nothing; new specs use the new images."""

from __future__ import annotations

from dataclasses import replace

import pytest

from e2e.steps import init_report, serving_pods, until_ready
from e2e.upgrading import EARLIER, NAME, NAMESPACE, Served, seen
from e2e.world import World, metrics
from harness import deploy
from harness.kubectl import Object, wait_for

pytestmark = pytest.mark.e2e


def until_looked_at(world: World) -> None:
    """Waits until the new operator has reconciled both objects."""
    replicas = f'tunecast_inference_deployment_replicas{{name="{NAME}",namespace="{NAMESPACE}",state="ready"}}'
    [cache] = world.kubectl.items("startupcaches", "-n", NAMESPACE)
    state = f'name="{cache["metadata"]["name"]}",namespace="{NAMESPACE}",state="Ready"'
    wanted = {replicas, f"tunecast_startup_cache_state{{{state}}}"}
    wait_for(lambda: wanted <= metrics(world).keys(), "the operator has reconciled all objects", 60)


@pytest.fixture(scope="module")
def upgraded(world: World) -> World:
    until_looked_at(world)
    return world


def init_image(pod: Object) -> str:
    return next(str(c["image"]) for c in pod["spec"]["initContainers"] if c["name"] == "tunecast-init")


def test_nothing_is_disturbed(upgraded: World, previous: Served) -> None:
    [operator] = upgraded.kubectl.get("deployment", "tunecast", "-n", deploy.SYSTEM_NAMESPACE)["spec"]["template"][
        "spec"
    ]["containers"]
    assert operator["image"] == f"{deploy.OPERATOR_IMAGE}:dev"
    assert seen(upgraded) == previous
    [pod] = serving_pods(upgraded.kubectl, NAME, NAMESPACE)
    assert init_image(pod) == f"{deploy.INIT_IMAGE}:{EARLIER}"


def test_a_scale_out_starts_warm_from_what_the_old_one_published(upgraded: World) -> None:
    upgraded.kubectl("scale", f"infd/{NAME}", "-n", NAMESPACE, "--replicas=2")
    wait_for(lambda: len(serving_pods(upgraded.kubectl, NAME, NAMESPACE)) == 2, "two replicas", 30)
    until_ready(upgraded.kubectl, NAME, NAMESPACE, 90)
    assert [init_report(pod)["result"] for pod in serving_pods(upgraded.kubectl, NAME, NAMESPACE)] == ["Hit", "Hit"]


def test_a_new_revision_is_the_new_one_s_and_tunes_nothing(upgraded: World, previous: Served) -> None:
    patch = '{"spec": {"template": {"metadata": {"annotations": {"example.com/new": "revision"}}}}}'
    upgraded.kubectl("patch", f"infd/{NAME}", "-n", NAMESPACE, "--type=merge", "-p", patch)

    def rolled() -> list[Object]:
        pods = serving_pods(upgraded.kubectl, NAME, NAMESPACE)
        new = [pod for pod in pods if init_image(pod) == f"{deploy.INIT_IMAGE}:dev"]
        return new if len(new) == len(pods) == 2 else []

    pods = wait_for(rolled, "both replicas are of the new revision", 120)
    assert [init_report(pod)["result"] for pod in pods] == ["Hit", "Hit"]
    assert seen(upgraded).attempts == previous.attempts


def test_replicas_start_warm_while_it_is_uninstalled_and_it_comes_back_to_all_as_it_was(upgraded: World) -> None:
    kubectl, before = upgraded.kubectl, seen(upgraded)
    kubectl.helm("uninstall", "tunecast", "-n", deploy.SYSTEM_NAMESPACE, "--wait")
    gone, stays = (pod["metadata"] for pod in serving_pods(kubectl, NAME, NAMESPACE))
    kubectl("delete", "pod", gone["name"], "-n", NAMESPACE)
    kubectl("rollout", "status", f"deployment/{NAME}", "-n", NAMESPACE, "--timeout=90s")
    pods = [pod for pod in serving_pods(kubectl, NAME, NAMESPACE) if not pod["metadata"].get("deletionTimestamp")]
    assert [init_report(pod)["result"] for pod in pods] == ["Hit", "Hit"]
    assert stays["uid"] in {pod["metadata"]["uid"] for pod in pods}

    deploy.install(kubectl, deploy.values(upgraded.environment))
    until_looked_at(upgraded)
    after = seen(upgraded)
    assert after.pods.keys() == {pod["metadata"]["uid"] for pod in pods}
    assert replace(after, pods=before.pods) == before
    kubectl("delete", "infd", NAME, "-n", NAMESPACE)
