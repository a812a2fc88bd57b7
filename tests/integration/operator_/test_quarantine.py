"""Quarantine of a bundle that engines crash from, on a real API server and a real S3 server."""

from __future__ import annotations

from typing import Any

import pytest

from support.deployments import change, create, warm
from support.driver import Driver, Writes
from support.objects import serving_pod
from tunecast_operator.resources.quarantine import Quarantine, quarantine_in
from tunecast_operator.runtime.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    POD,
    STARTUP_CACHE,
)

pytestmark = pytest.mark.integration


CRASHED = {
    "state": {
        "terminated": {"exitCode": 139, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:01:00Z"}
    }
}


def serve(driver: Driver, manifest: str, engine: dict[str, Any], **changes: Any) -> set[str]:
    """Simulates the node of serving pods, whose engines have the status ``engine``; returns the pods' uids."""
    pods = serving_pods(driver)
    for pod in pods:
        reported = serving_pod(pod["metadata"]["name"], manifest, engine, **changes)
        driver.plain.update_status(POD, {**pod, "status": {"phase": "Running", **reported["status"]}})
    return {pod["metadata"]["uid"] for pod in pods}


def serving_pods(driver: Driver) -> list[Any]:
    pods = driver.plain.list(POD, driver.namespace, "tunecast.io/inference-deployment=qwen3")
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def replaced(driver: Driver, before: set[str]) -> bool:
    """Returns whether all of these pods have been replaced."""
    found = {pod["metadata"]["uid"] for pod in serving_pods(driver)}
    return len(found) == len(before) and not found & before


def quarantine(driver: Driver) -> Quarantine:
    return quarantine_in(driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust"))


def manifest_of(driver: Driver) -> str:
    """Starts two replicas, and returns the digest of their bundle."""
    driver.until(lambda: warm(driver) and len(serving_pods(driver)) == 2, "replicas may start")
    return str(driver.caches()[0]["status"]["manifest"])


def test_a_bundle_that_engines_crash_from_is_quarantined_without_a_rollout(driver: Driver) -> None:
    create(driver)
    manifest = manifest_of(driver)
    deployment = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {}
    before = serve(driver, manifest, CRASHED)
    driver.until(lambda: driver.caches("Quarantined"), "the bundle is quarantined")
    [cache] = driver.caches()
    assert quarantine(driver).digests == (manifest,), "the namespace's trust ConfigMap lists the quarantine"
    driver.until(lambda: replaced(driver, before), "the crashed ones go")
    after = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {}
    assert after["spec"] == deployment["spec"]
    driver.until(lambda: driver.deployment_status()["cache"] == "Cold", "the InferenceDeployment reports it")
    assert "Quarantined" in {event["reason"] for event in driver.plain.list(EVENT, driver.namespace)}
    driver.plain.delete(STARTUP_CACHE, driver.namespace, cache["metadata"]["name"], cache["metadata"]["uid"])
    driver.until(lambda: driver.caches("Quarantined"), "a recreated StartupCache does not restore the bundle")
    change(driver, tuning={"ranks": 2, "generation": 2})
    driver.until(lambda: warm(driver), "a higher generation ends the quarantine")


def test_replicas_that_were_ready_and_crashed_blame_no_bundle(driver: Driver) -> None:
    create(driver)
    manifest = manifest_of(driver)
    restarted = {"state": {"running": {}}, "lastState": CRASHED["state"], "restartCount": 1}
    before = serve(driver, manifest, restarted, ready_until="2026-01-01T10:09:00Z")
    for _ in range(3):
        driver.step()
    assert (driver.caches("Quarantined"), quarantine(driver)) == ([], Quarantine())
    assert {pod["metadata"]["uid"] for pod in serving_pods(driver)} == before


def test_the_same_crash_of_a_cold_replica_lifts_the_quarantine_permanently(driver: Driver) -> None:
    """This also holds after the operator restarts, because the evidence is in the ConfigMap."""
    create(driver)
    manifest = manifest_of(driver)
    before = serve(driver, manifest, CRASHED)
    driver.until(lambda: driver.caches("Quarantined") and replaced(driver, before), "cold replicas come")
    serve(driver, manifest, CRASHED, cold="Quarantined")
    driver.restart(Writes())
    [cache] = driver.until(lambda: driver.caches("Ready"), "the quarantine is lifted")
    [reported] = [condition for condition in cache["status"]["conditions"] if condition["type"] == "Ready"]
    assert (reported["status"], reported["reason"]) == ("True", "QuarantineLifted")
    assert quarantine(driver).digests == ()
    for why in ("NoManifest", "Quarantined", "NoManifest"):
        serve(driver, manifest, {**CRASHED, "restartCount": 9}, cold=why)
        driver.restart(Writes())
        for _ in range(2):
            driver.step()
        assert (driver.caches("Quarantined"), quarantine(driver).digests) == ([], ()), why
    events = [event["reason"] for event in driver.plain.list(EVENT, driver.namespace)]
    assert [events.count(why) for why in ("Quarantined", "QuarantineLifted")] == [2, 2], "one Event for each kind"


def test_a_bundle_whose_startup_cache_is_gone_is_quarantined_too(driver: Driver) -> None:
    """With the policy Never, replicas use a stored bundle of their key without a StartupCache."""
    create(driver)
    manifest = manifest_of(driver)
    change(driver, tuning={"policy": "Never"})
    driver.step()
    for cache in driver.caches():
        driver.plain.delete(STARTUP_CACHE, driver.namespace, cache["metadata"]["name"])
    before = serve(driver, manifest, CRASHED)
    driver.until(lambda: replaced(driver, before), "the crashed ones go")
    assert quarantine(driver).digests == (manifest,)
    assert "Quarantined" in {event["reason"] for event in driver.plain.list(EVENT, driver.namespace)}
    serve(driver, manifest, CRASHED, cold="Quarantined")
    driver.until(lambda: quarantine(driver).lifted(manifest), "the quarantine is lifted")
    assert driver.caches() == []
