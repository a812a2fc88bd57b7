"""Errors of the API server at a write appear in status, not only in the log."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from harness.kubectl import CommandError, Kubectl, Object, condition
from support.driver import Driver
from support.objects import inference_deployment
from support.s3 import S3
from tunecast_operator.runtime.cluster import EVENT, INFERENCE_DEPLOYMENT, ClusterError

pytestmark = pytest.mark.integration
NAMESPACE = "full-range"


@pytest.fixture
def driver(kubernetes: Kubectl, s3_credentials: S3) -> Driver:
    kubernetes("create", "namespace", NAMESPACE)
    return Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), NAMESPACE)


def services(names: list[str]) -> str:
    spec = {"ports": [{"port": 80}]}
    items = [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec} for name in names]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def fill(kubernetes: Kubectl) -> None:
    """Uses all 254 addresses of the test cluster's Service range."""
    for start in range(0, 300, 50):
        batch = [f"filler-{number}" for number in range(start, start + 50)]
        with suppress(CommandError):  # from the first Service without an address
            kubernetes("create", "-n", NAMESPACE, "-f", "-", stdin=services(batch))


def owner(driver: Driver) -> Object:
    return driver.plain.get(INFERENCE_DEPLOYMENT, NAMESPACE, "qwen3") or {}


def test_a_full_service_range_appears_in_status_and_goes_again(kubernetes: Kubectl, driver: Driver) -> None:
    fill(kubernetes)
    wanted = inference_deployment(tuning={"policy": "Never"}, replicas=0)
    wanted["metadata"] = {"name": "qwen3", "namespace": NAMESPACE}
    driver.plain.apply(INFERENCE_DEPLOYMENT, wanted)
    for _ in range(2):
        assert not condition(owner(driver), "Ready"), "a single failure is not reported yet"
        with pytest.raises(ClusterError, match="range is full"):
            driver.step()
    failing = condition(owner(driver), "Reconciling")
    assert (failing["status"], failing["reason"]) == ("True", "KubernetesFailed")
    assert "range is full" in failing["message"]
    assert condition(owner(driver), "Ready")["status"] == "False"
    assert "KubernetesFailed" in {event["reason"] for event in driver.plain.list(EVENT, NAMESPACE)}
    kubernetes("delete", "service", "-n", NAMESPACE, "--all")
    driver.until(lambda: condition(owner(driver), "Reconciling").get("reason") != "KubernetesFailed", "it goes again")
