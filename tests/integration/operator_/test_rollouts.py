"""Changes that roll out or tune again, and when, on a real API server and a real S3 server."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.kubectl import Kubectl
from support.deployments import change, create, replicas, warm
from support.driver import Driver, Writes
from support.objects import pod_template
from tunecast_operator.runtime.cluster import (
    DEPLOYMENT,
    JOB,
)

pytestmark = pytest.mark.integration


def test_replicas_and_labels_tune_nothing_and_an_argument_does_while_the_old_serves(driver: Driver) -> None:
    driver.kubelet.serves = True
    create(driver)
    driver.until(lambda: warm(driver), "replicas may start")
    driver.until(lambda: driver.deployment_status().get("readyReplicas") == 2, "they are ready")
    change(driver, replicas=3, template=pod_template(metadata={"labels": {"team": "a"}}))
    driver.until(lambda: replicas(driver) == 3, "three replicas")
    assert len(driver.caches()) == 1
    driver.kubelet.running_only = True
    change(driver, replicas=4, template=pod_template("--max-model-len=8192"))
    driver.until(lambda: driver.caches("Tuning"), "the new key is tuned")
    driver.until(lambda: replicas(driver) == 4, "the old revision scales")
    live = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    assert live
    assert arguments(driver) == []
    driver.kubelet.running_only = False
    driver.until(lambda: len(driver.caches("Ready")) == 2, "the new cache is ready")
    driver.until(lambda: "--max-model-len=8192" in arguments(driver), "the new revision rolls out")


def arguments(driver: Driver) -> list[str]:
    live = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    found: list[str] = (live or {})["spec"]["template"]["spec"]["containers"][0].get("args", [])
    return found


def test_the_strategy_of_a_live_deployment_changes(driver: Driver) -> None:
    """Defaults of the old strategy are invalid with Recreate, which GPU fleets without spares need."""
    create(driver)
    driver.until(lambda: warm(driver), "replicas may start")
    change(driver, strategy={"type": "Recreate"})
    driver.until(lambda: strategy(driver) == "Recreate", "the new strategy")
    driver.restart(Writes())
    driver.step()
    assert "PATCH Deployment" not in driver.writes.names


def strategy(driver: Driver) -> str:
    live = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    return str((live or {})["spec"]["strategy"]["type"])


def test_generation_tunes_again(driver: Driver) -> None:
    create(driver)
    driver.until(lambda: warm(driver), "replicas may start")
    change(driver, tuning={"ranks": 2, "generation": 2})
    driver.until(lambda: len(driver.caches("Ready")) == 2, "tuned again")
    assert len(driver.plain.list(JOB, driver.namespace)) == 2


@pytest.mark.parametrize(("asked", "afterwards"), [({}, 2), ({"replicas": None}, 3)], ids=["the spec's", "its own"])
def test_what_an_administrator_releases_while_no_operator_runs_stays_released(
    driver: Driver, kubernetes: Kubectl, asked: dict[str, Any], afterwards: int
) -> None:
    driver.kubelet.running_only = True
    create(driver, **asked)
    driver.until(lambda: driver.caches("Tuning"), "it is tuned")
    found = kubernetes("get", "deployments", "-n", driver.namespace, "-l", "app.kubernetes.io/managed-by=tunecast")
    assert re.search(r"qwen3 +0/0", found), "held"
    kubernetes("scale", "deployment/qwen3", "--replicas=3", "-n", driver.namespace)
    driver.restart(Writes())
    for _ in range(3):
        driver.step()
    assert replicas(driver) == afterwards
    assert driver.deployment_status()["desiredReplicas"] == afterwards
    assert driver.caches("Tuning"), "tuning continues"


def test_a_hot_fix_of_a_revision_that_does_not_serve_is_not_withheld(driver: Driver) -> None:
    """Its replicas never become ready, so their replacement rolls out while it is still being tuned."""
    create(driver)
    driver.until(lambda: warm(driver), "replicas may start")
    driver.kubelet.running_only = True
    change(driver, template=pod_template("--max-model-len=8192"))
    driver.until(lambda: driver.caches("Tuning"), "the new key is tuned")
    driver.until(lambda: "--max-model-len=8192" in arguments(driver), "the fix rolls out")
    assert driver.caches("Tuning")
