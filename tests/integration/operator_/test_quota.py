"""Namespaces with a ResourceQuota, on a real API server: refusals are reported, and settings fix them."""

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
LIMITED = ContainerSettings(resources={"limits": {"cpu": "500m", "memory": "512Mi"}})


@pytest.fixture
def driver(kubernetes: Kubectl, s3_credentials: S3) -> Driver:
    """A namespace with a quota on CPU limits."""
    namespace = f"quota-{next(NUMBERS)}"
    kubernetes("create", "namespace", namespace)
    quota = ("quota", "cpu", "--namespace", namespace)
    kubernetes("create", *quota, "--hard=limits.cpu=100")
    wait_for(lambda: kubernetes.get(*quota).get("status", {}).get("hard"), "the quota holds", 30)
    return Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), namespace)


def ready(driver: Driver) -> tuple[str, str]:
    """Returns reason and message of the StartupCache's Ready condition."""
    [cache] = driver.caches()
    found = find(cache.get("status") or {}, ConditionType.READY)
    return str(found.get("reason")), str(found.get("message"))


def create(driver: Driver, **spec: Any) -> dict[str, Any]:
    """Creates an InferenceDeployment whose engine has the limit that the quota requires."""
    owner = inference_deployment(replicas=1, template=pod_template(resources={"limits": {"cpu": "2"}}), **spec)
    owner["metadata"] = {"name": "qwen3", "namespace": driver.namespace}
    driver.plain.create(INFERENCE_DEPLOYMENT, owner)
    return owner


def correct(driver: Driver) -> None:
    """Restarts the operator with corrected chart values."""
    driver.installation = replace(driver.installation, init_container=LIMITED)
    driver.restart(Writes())


def test_a_quota_refusal_is_quoted_and_met_by_settings(driver: Driver) -> None:
    owner = create(driver)
    driver.step()
    driver.until(lambda: "failed quota: cpu: must specify limits.cpu for: tunecast-tools" in ready(driver)[1], "why")
    assert ready(driver)[0] == "PodsCannotStart"

    correct(driver)
    again = {**owner, "spec": {**owner["spec"], "tuning": {"generation": 2}}}
    driver.plain.apply(INFERENCE_DEPLOYMENT, again)
    driver.until(lambda: driver.deployment_status().get("cache") == "Hit", "tuning succeeds, and replicas start warm")


def test_replicas_that_a_quota_refuses_get_corrected_settings_without_a_change_of_the_spec(driver: Driver) -> None:
    create(driver, tuning={"policy": "Never"})
    words = "failed quota: cpu: must specify limits.cpu for: tunecast-init"
    driver.until(lambda: words in find(driver.deployment_status(), ConditionType.READY).get("message", ""), "why")
    correct(driver)
    pods = driver.until(lambda: driver.plain.list(POD, driver.namespace), "the replica is created")
    [init] = pods[0]["spec"]["initContainers"]
    assert init["resources"]["limits"] == LIMITED.resources["limits"]
    generation = (driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {})["metadata"]["generation"]
    for _ in range(3):
        driver.step()
    found = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {}
    assert found["metadata"]["generation"] == generation, "it rolls once"
