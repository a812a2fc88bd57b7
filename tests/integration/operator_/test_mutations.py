"""Admission policies that change what the operator applies: it keeps their additions, and writes only once."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from harness import deploy, policies
from harness.kubectl import Kubectl, Object
from support.driver import Driver
from support.objects import inference_deployment, pod_template
from support.s3 import S3
from tunecast_operator.runtime.cluster import DEPLOYMENT, INFERENCE_DEPLOYMENT

pytestmark = pytest.mark.integration
NUMBERS = itertools.count()


@pytest.fixture
def driver(kubernetes: Kubectl, s3_credentials: S3) -> Driver:
    """A namespace where a policy adds to every Deployment; one InferenceDeployment serves in it."""
    policies.install(kubernetes)
    namespace = f"mutated-{next(NUMBERS)}"
    kubernetes.apply(deploy.namespace(namespace, {"tests.tunecast.io/additions": "true"}))
    found = Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), namespace)
    found.plain.create(INFERENCE_DEPLOYMENT, owner(namespace))
    found.until(lambda: found.deployment_status().get("cache") == "Hit", "replicas start warm")
    for _ in range(3):
        found.step()
    return found


def owner(namespace: str, **spec: Any) -> Object:
    found: Object = inference_deployment(replicas=2, tuning={"ranks": 2}, **spec)
    found["metadata"] = {"name": "qwen3", "namespace": namespace}
    return found


def template(driver: Driver) -> Object:
    found = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    assert found
    pod: Object = found["spec"]["template"]
    return pod


def variables(driver: Driver) -> set[str]:
    return {variable["name"] for variable in template(driver)["spec"]["containers"][0]["env"]}


def test_what_a_policy_adds_stays_and_is_no_reason_to_write(driver: Driver) -> None:
    assert "COMPANY" in variables(driver)
    assert template(driver)["spec"]["tolerations"] == [{"key": "company", "operator": "Exists"}]
    before = len(driver.writes.names)
    for _ in range(10):
        driver.step()
    assert driver.writes.names[before:] == []


def test_what_a_user_changes_is_applied(driver: Driver) -> None:
    annotated = pod_template(metadata={"annotations": {"new": "one"}})
    driver.plain.apply(INFERENCE_DEPLOYMENT, owner(driver.namespace, template=annotated))
    driver.until(lambda: template(driver)["metadata"]["annotations"].get("new") == "one", "the template has it")
    assert "COMPANY" in variables(driver)


def test_a_removed_field_is_restored(driver: Driver, kubernetes: Kubectl) -> None:
    ours = "VLLM_CACHE_ROOT"
    names = [variable["name"] for variable in template(driver)["spec"]["containers"][0]["env"]]
    patch = [{"op": "remove", "path": f"/spec/template/spec/containers/0/env/{names.index(ours)}"}]
    where = ("deployment/qwen3", "-n", driver.namespace)
    kubernetes("patch", *where, "--type=json", "-p", json.dumps(patch))
    assert ours not in variables(driver)
    driver.until(lambda: ours in variables(driver), "the operator restores it")
