"""A revision that serves still scales and is protected while its spec can't be rolled out, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from support.deployments import change, create, replicas, warm
from support.driver import Driver
from support.objects import pod_template, serving_pod
from tunecast_operator.conditions import find
from tunecast_operator.resources.quarantine import quarantine_in
from tunecast_operator.runtime.cluster import CONFIG_MAP, DEPLOYMENT, POD, SERVICE

pytestmark = pytest.mark.integration
INVALID: dict[str, Any] = {"template": pod_template("--hos=127.0.0.1")}  # the rules of the CRD know --host alone
MISSING = [{"name": "missing", "mountPath": "/data"}]
NO_SUCH_VOLUME: dict[str, Any] = {"template": pod_template("--dtype=half", volumeMounts=MISSING)}
CRASHED = {
    "state": {
        "terminated": {"exitCode": 139, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:01:00Z"}
    }
}


def stalled(driver: Driver) -> Any:
    found = find(driver.deployment_status(), "Stalled")
    return found.get("reason") if found.get("status") == "True" else None


def pods(driver: Driver) -> list[Any]:
    found = driver.plain.list(POD, driver.namespace, "tunecast.io/inference-deployment=qwen3")
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def template(driver: Driver) -> Any:
    return (driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {})["spec"]["template"]


@pytest.mark.parametrize(
    ("edit", "policy", "reason"),
    [(INVALID, "TuneFirst", "InvalidSpec"), (NO_SUCH_VOLUME, "Never", "Rejected")],
    ids=["the operator can't read it", "the API server refuses it"],
)
def test_replicas_scale(driver: Driver, edit: dict[str, Any], policy: str, reason: str) -> None:
    tuning = {"ranks": 2, "policy": policy}
    create(driver, tuning=tuning)
    driver.until(lambda: len(pods(driver)) == 2, "replicas may start")
    before = template(driver)
    change(driver, **edit, replicas=3, tuning=tuning)
    driver.until(lambda: stalled(driver) == reason, reason)
    driver.until(lambda: replicas(driver) == 3, "the live revision scales")
    assert template(driver) == before
    driver.step()
    assert driver.deployment_status()["desiredReplicas"] == 3
    assert stalled(driver) == reason
    change(driver, tuning=tuning)
    driver.until(lambda: not stalled(driver) and replicas(driver) == 2, "a correction is carried out")


def test_a_crashing_bundle_is_quarantined_and_what_replicas_need_is_restored(driver: Driver) -> None:
    create(driver)
    driver.until(lambda: warm(driver) and len(pods(driver)) == 2, "replicas may start")
    manifest = str(driver.caches()[0]["status"]["manifest"])
    change(driver, **INVALID)
    driver.until(lambda: stalled(driver), "InvalidSpec")
    driver.plain.delete(CONFIG_MAP, driver.namespace, "tunecast-trust")
    driver.plain.delete(SERVICE, driver.namespace, "qwen3")
    driver.step()
    assert driver.plain.get(SERVICE, driver.namespace, "qwen3")
    assert driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust")

    before = {pod["metadata"]["uid"] for pod in pods(driver)}
    for pod in pods(driver):
        crashed = serving_pod(pod["metadata"]["name"], manifest, CRASHED)
        driver.plain.update_status(POD, {**pod, "status": {"phase": "Running", **crashed["status"]}})
    driver.until(lambda: driver.caches("Quarantined"), "the bundle is quarantined")
    assert quarantine_in(driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust")).digests == (manifest,)
    driver.until(lambda: not before & {pod["metadata"]["uid"] for pod in pods(driver)}, "the crashed replicas go")
    assert stalled(driver) == "InvalidSpec"
