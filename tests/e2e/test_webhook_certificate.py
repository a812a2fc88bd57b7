"""The installed webhook and its certificate: whatever becomes of them, no pod is refused."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from e2e.world import World
from harness.deploy import SYSTEM_NAMESPACE
from harness.kubectl import Object, wait_for
from harness.policies import pod
from tunecast_operator import times
from tunecast_operator.adoption.names import NOT_INJECTED_ANNOTATION
from tunecast_operator.resources.certificate import LIFE, issue, problem, service_names

pytestmark = pytest.mark.e2e
NAME, NAMESPACE = "tunecast-webhook", "certified"
NAMES = service_names(NAME, SYSTEM_NAMESPACE)
MINUTE = 60.0


@pytest.fixture(scope="module")
def webhook(world: World) -> World:
    """The installed webhook, which the API server calls for pods of a namespace of these tests."""
    world.namespace(NAMESPACE)
    wait_for(lambda: world.kubectl.find("serviceaccount", "default", "-n", NAMESPACE), "its service account", MINUTE)
    wait_for(lambda: called(world), "the API server calls the webhook", MINUTE)
    return world


def called(world: World) -> bool:
    """Whether the webhook answers for a pod, which has no engine. Raises CommandError where the pod is refused."""
    made = world.kubectl.create(pod("probe", NAMESPACE, labels={"tunecast.io/inject": "true"}), "--dry-run=server")
    return NOT_INJECTED_ANNOTATION in made["metadata"].get("annotations", {})


def secret(world: World) -> Object:
    return world.kubectl.find("secret", NAME, "-n", SYSTEM_NAMESPACE) or {}


def bundle(world: World) -> bytes:
    [hook] = world.kubectl.get("mutatingwebhookconfiguration", NAME)["webhooks"]
    return base64.b64decode(hook["clientConfig"].get("caBundle", ""))


def healed(world: World) -> bool:
    data = secret(world).get("data") or {}
    return not problem(data, NAMES, times.utc_now()) and base64.b64decode(data["ca.crt"]) in bundle(world)


def delete_secret(world: World) -> None:
    world.kubectl("delete", "secret", NAME, "-n", SYSTEM_NAMESPACE)


def expire(world: World) -> None:
    expired = issue(NAMES, times.utc_now() - LIFE - timedelta(days=1)).data
    world.kubectl("patch", "secret", NAME, "-n", SYSTEM_NAMESPACE, "-p", json.dumps({"data": expired}))


def trust_another_authority(world: World) -> None:
    other = issue(NAMES, times.utc_now()).data["ca.crt"]
    patch = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": other}]
    world.kubectl("patch", "mutatingwebhookconfiguration", NAME, "--type=json", "-p", json.dumps(patch))


@pytest.mark.parametrize("spoil", [delete_secret, expire, trust_another_authority])
def test_a_spoilt_certificate_is_healed_within_a_minute_and_pods_are_created_meanwhile(
    webhook: World, spoil: Callable[[World], None]
) -> None:
    wait_for(lambda: healed(webhook), "the certificate is right before", MINUTE)
    spoil(webhook)
    deadline = time.monotonic() + MINUTE
    wait_for(lambda: [called(webhook)] and healed(webhook), "it is right again; no pod was refused", MINUTE)
    wait_for(lambda: called(webhook), "the webhook is called again", deadline - time.monotonic())


def test_pods_are_created_and_injected_while_the_webhook_restarts(webhook: World) -> None:
    """One replica after the other, each of which serves until Services have forgotten it."""
    webhook.kubectl("rollout", "restart", f"deployment/{NAME}", "-n", SYSTEM_NAMESPACE)
    answers: list[bool] = []

    def restarted() -> bool:
        answers.append(called(webhook))
        found = webhook.kubectl.get("deployment", NAME, "-n", SYSTEM_NAMESPACE)
        status, wanted = found["status"], found["spec"]["replicas"]
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(current and status.get("updatedReplicas") == status.get("replicas") == wanted)

    wait_for(restarted, "both replicas are new", 2 * MINUTE, every=0.1)
    assert all(answers), f"{answers.count(False)} of {len(answers)} calls failed"


def test_pods_are_created_while_the_webhook_is_away(webhook: World) -> None:
    scale = ("scale", f"deployment/{NAME}", "-n", SYSTEM_NAMESPACE)
    webhook.kubectl(*scale, "--replicas=0")
    wait_for(lambda: not called(webhook), "the webhook is away, and a pod is created as it is", MINUTE)
    webhook.kubectl(*scale, "--replicas=2")
    wait_for(lambda: called(webhook), "the webhook is back", MINUTE)
