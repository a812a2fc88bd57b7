"""Namespaces with a ResourceQuota, on a real API server: refusals are reported, and settings fix them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.kubectl import Kubectl, wait_for
from support.driver import Driver, Writes
from support.objects import inference_deployment, pod_template
from support.s3 import S3
from tunecast_operator.conditions import ConditionType, find
from tunecast_operator.resources.init_container import ContainerSettings
from tunecast_operator.runtime.cluster import INFERENCE_DEPLOYMENT

pytestmark = pytest.mark.integration
NAMESPACE = "quota"
LIMITED = ContainerSettings(resources={"limits": {"cpu": "500m", "memory": "512Mi"}})


@pytest.fixture
def driver(kubernetes: Kubectl, s3_credentials: S3) -> Driver:
    """A namespace with a quota on CPU limits."""
    kubernetes("create", "namespace", NAMESPACE)
    kubernetes("create", "quota", "cpu", "--hard=limits.cpu=100", "--namespace", NAMESPACE)
    quota = ("quota", "cpu", "--namespace", NAMESPACE)
    wait_for(lambda: kubernetes.get(*quota).get("status", {}).get("hard"), "the quota holds", 30)
    return Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), NAMESPACE)


def ready(driver: Driver) -> tuple[str, str]:
    """Returns reason and message of the StartupCache's Ready condition."""
    [cache] = driver.caches()
    found = find(cache.get("status") or {}, ConditionType.READY)
    return str(found.get("reason")), str(found.get("message"))


def test_a_quota_refusal_is_quoted_and_met_by_settings(driver: Driver) -> None:
    owner = inference_deployment(replicas=1, template=pod_template(resources={"limits": {"cpu": "2"}}))
    owner["metadata"] = {"name": "qwen3", "namespace": NAMESPACE}
    driver.plain.create(INFERENCE_DEPLOYMENT, owner)
    driver.step()
    driver.until(lambda: "failed quota: cpu: must specify limits.cpu for: tunecast-tools" in ready(driver)[1], "why")
    assert ready(driver)[0] == "PodsCannotStart"

    driver.installation = replace(driver.installation, init_container=LIMITED)
    driver.restart(Writes())
    again = {**owner, "spec": {**owner["spec"], "tuning": {"generation": 2}}}
    driver.plain.apply(INFERENCE_DEPLOYMENT, again)
    driver.until(lambda: driver.deployment_status().get("cache") == "Hit", "tuning succeeds, and replicas start warm")
