"""Namespaces that refuse pods, on a real API server: refusals are reported, and corrected settings end them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from harness.kubectl import Kubectl, wait_for
from support.driver import Driver, Writes
from support.objects import inference_deployment, pod_template
from support.s3 import S3
from tunecast_operator.conditions import ConditionType, find
from tunecast_operator.resources.init_container import ContainerSettings
from tunecast_operator.runtime.cluster import DEPLOYMENT, INFERENCE_DEPLOYMENT, POD

pytestmark = pytest.mark.integration
NUMBERS = itertools.count()
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture
def driver(kubernetes: Kubectl, s3_credentials: S3) -> Driver:
    """A namespace of its own."""
    namespace = f"refusals-{next(NUMBERS)}"
    kubernetes("create", "namespace", namespace)
    return Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), namespace)


def ready(driver: Driver) -> tuple[str, str]:
    """Returns reason and message of the newest StartupCache's Ready condition."""
    *_, cache = sorted(driver.caches(), key=lambda cache: str(cache["metadata"]["creationTimestamp"]))
    found = find(cache.get("status") or {}, ConditionType.READY)
    return str(found.get("reason")), str(found.get("message"))


def create(driver: Driver, **spec: Any) -> dict[str, Any]:
    owner = inference_deployment(replicas=1, **spec)
    owner["metadata"] = {"name": "qwen3", "namespace": driver.namespace}
    driver.plain.create(INFERENCE_DEPLOYMENT, owner)
    return owner


def test_an_engine_without_limits_is_refused_with_the_quotas_message_and_one_with_limits_is_served(
    driver: Driver, kubernetes: Kubectl
) -> None:
    """Tunecast's own containers have the engine's limits, so that no setting of the chart is needed."""
    kubernetes("create", "quota", "cpu", "--hard=limits.cpu=100", "--namespace", driver.namespace)
    quota = ("quota", "cpu", "--namespace", driver.namespace)
    wait_for(lambda: kubernetes.get(*quota).get("status", {}).get("hard"), "the quota holds", 30)
    owner = create(driver)
    driver.step()
    driver.until(lambda: "failed quota: cpu: must specify limits.cpu for: engine" in ready(driver)[1], "why")
    assert ready(driver)[0] == "PodsCannotStart"

    limited = {**owner["spec"], "template": pod_template(resources={"limits": {"cpu": "2"}})}
    driver.plain.apply(INFERENCE_DEPLOYMENT, {**owner, "spec": limited})
    driver.until(lambda: driver.deployment_status().get("cache") == "Hit", "tuning succeeds, and replicas start warm")


def test_replicas_that_are_refused_get_corrected_settings_without_a_change_of_the_spec(
    driver: Driver, kubernetes: Kubectl
) -> None:
    kubernetes("label", "namespace", driver.namespace, "pod-security.kubernetes.io/enforce=restricted")
    privileged = ContainerSettings(security_context={**RESTRICTED, "allowPrivilegeEscalation": True})
    driver.installation = replace(driver.installation, init_container=privileged)
    driver.restart(Writes())
    create(driver, tuning={"policy": "Never"}, template=pod_template(securityContext=RESTRICTED))
    words = 'container "tunecast-init" must set securityContext.allowPrivilegeEscalation=false'
    driver.until(lambda: words in find(driver.deployment_status(), ConditionType.READY).get("message", ""), "why")

    driver.installation = replace(driver.installation, init_container=ContainerSettings())
    driver.restart(Writes())
    pods = driver.until(lambda: driver.plain.list(POD, driver.namespace), "the replica is created")
    [init] = pods[0]["spec"]["initContainers"]
    assert init["securityContext"]["allowPrivilegeEscalation"] is False
    generation = (driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {})["metadata"]["generation"]
    for _ in range(3):
        driver.step()
    found = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {}
    assert found["metadata"]["generation"] == generation, "it rolls once"
