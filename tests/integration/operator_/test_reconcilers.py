"""Both reconcilers on a real API server and a real S3 server; only the node is simulated."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness.kubectl import Kubectl
from support.deployments import create, replicas, staged, warm
from support.driver import Driver, Killed, Writes
from support.kubelet import as_text
from support.objects import proof
from support.s3 import S3
from tunecast_core.bundle.layout import staging_prefix
from tunecast_core.records.codec import decode
from tunecast_core.trust import signing
from tunecast_core.trust.settings import Trust
from tunecast_operator.runtime.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    INFERENCE_DEPLOYMENT,
    JOB,
    SECRET,
    SERVICE,
    STARTUP_CACHE,
)

pytestmark = pytest.mark.integration
AT_ONCE = 4


def test_apply_tune_publish_serve(driver: Driver) -> None:
    create(driver)
    driver.step()
    assert replicas(driver) == 0, "no replicas until the StartupCache is ready"
    driver.until(lambda: warm(driver), "replicas may start")
    [cache] = driver.caches("Ready")
    assert (cache["status"]["cold"], cache["status"]["warm"]) == ("60.0s", "20.0s")
    assert staged(driver) == []
    assert driver.plain.list(JOB, driver.namespace)[0]["status"]["succeeded"] == 2
    assert driver.plain.list(SECRET, driver.namespace, f"tunecast.io/startup-cache={cache['metadata']['name']}") == []


def test_an_attempt_ends_with_its_engines_though_sidecars_go_on(driver: Driver) -> None:
    """The Job never finishes because its pods keep running, so it is deleted with the pods that hold GPUs."""
    driver.kubelet.sidecars = True
    create(driver)
    driver.until(lambda: warm(driver), "replicas may start")
    assert staged(driver) == []
    driver.until(lambda: not driver.plain.list(JOB, driver.namespace), "its Job is gone")


def test_a_quiet_cluster_sees_no_write(driver: Driver) -> None:
    create(driver)
    driver.until(lambda: warm(driver), "replicas may start")
    for _ in range(3):
        driver.step()
    driver.restart(Writes())
    for _ in range(10):
        driver.step()
    assert driver.writes.names == []


def test_events_read_like_a_log_without_repeats(driver: Driver) -> None:
    create(driver)
    driver.until(lambda: warm(driver), "replicas may start")
    events = driver.plain.list(EVENT, driver.namespace)
    ours = [(e["involvedObject"]["kind"], e["reason"]) for e in events if e["source"].get("component") == "tunecast"]
    assert {"Queued", "Tuning", "Publishing", "Published"} <= {
        reason for kind, reason in ours if kind == "StartupCache"
    }
    assert max(Counter(ours).values()) == 1


def describe(driver: Driver) -> str:
    """Returns all objects that a run leaves, without identities, times, and messages about other tests' nodes."""
    kinds = (INFERENCE_DEPLOYMENT, STARTUP_CACHE, DEPLOYMENT, SERVICE, JOB)
    found = {kind.name: driver.plain.list(kind, driver.namespace) for kind in kinds}
    jobs = [{"name": job["metadata"]["name"], "spec": job["spec"]["completions"]} for job in found.pop("Job")]
    for owner in found["InferenceDeployment"]:
        owner["metadata"].pop("annotations", None)
    services = [service["metadata"]["name"] for service in found.pop("Service")]
    text = as_text({**found, "jobs": jobs, "services": services, "staged": staged(driver)})
    for cache in driver.caches():
        text = text.replace(cache["status"]["manifest"], "<digest>")
    text = re.sub(r"made [0-9TZ:-]+", "made <moment>", re.sub(r"qwen3-[0-9a-f]+-[0-9a-z]{5}", "<pod>", text))
    text = re.sub(r"(no nodes|\d+/\d+ nodes are) available[^\"]*", "<unscheduled>", text)
    return text.replace(driver.namespace, "<namespace>")


def run_to_the_end(driver: Driver) -> None:
    driver.until(lambda: warm(driver), "replicas may start")
    for _ in range(3):
        driver.step()


def test_killed_after_any_write_it_ends_the_same(kubernetes: Kubectl, s3_credentials: S3) -> None:
    """For every write of a run: the operator ends right after it, another one starts, and the result is the same.

    The speed of controllers varies, so a write is identified by its name and its number among equal names.
    """
    private = signing.generate()

    def killed(number: int, last: tuple[str, int] | None) -> tuple[str, Driver, bool]:
        namespace = f"killed-{number}"
        kubernetes("create", "namespace", namespace)
        driver = Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), namespace, private)
        create(driver)
        driver.restart(Writes(last))
        try:
            run_to_the_end(driver)
        except Killed:
            driver.restart(Writes())
            run_to_the_end(driver)
            return describe(driver), driver, True
        return describe(driver), driver, False

    expected, whole, _ = killed(0, None)
    writes = whole.writes.numbered
    was_killed = set()
    with ThreadPoolExecutor(AT_ONCE) as pool:  # each run mostly waits for controllers, in its own namespace
        for last, (end, _, happened) in zip(writes, pool.map(killed, itertools.count(1), writes), strict=True):
            assert end == expected, f"killed after {last}"
            was_killed |= {last} if happened else set()
    assert {name for name, _ in was_killed} == set(whole.writes.names), "every kind of write was covered"
    assert len(was_killed) > 20


def test_two_with_the_same_key_share_one_job_and_one_deleted_harms_nobody(driver: Driver) -> None:
    create(driver, "first")
    create(driver, "second")
    driver.kubelet.running_only = True
    driver.until(lambda: driver.caches("Tuning"), "it tunes")
    driver.plain.delete(INFERENCE_DEPLOYMENT, driver.namespace, "first")
    driver.kubelet.running_only = False
    driver.until(lambda: driver.deployment_status("second").get("cache") == "Hit", "the second one is warm")
    assert len(driver.plain.list(JOB, driver.namespace)) == 1


def test_the_job_of_an_unused_cache_is_deleted_at_once(driver: Driver) -> None:
    create(driver)
    driver.kubelet.running_only = True
    driver.until(lambda: driver.caches("Tuning"), "it tunes")
    driver.plain.delete(INFERENCE_DEPLOYMENT, driver.namespace, "qwen3")
    driver.until(lambda: not driver.plain.list(JOB, driver.namespace), "its Job is gone")


@pytest.mark.parametrize(
    ("failure", "state", "reason", "jobs"),
    [
        ("EngineRejectedArguments", "Failed", "EngineRejectedArguments", 1),
        ("EngineCrashed", "Failed", "AttemptsExhausted", 3),
    ],
)
def test_tuning_that_fails_lets_replicas_start_cold(
    driver: Driver, failure: str, state: str, reason: str, jobs: int
) -> None:
    driver.kubelet.failure = failure
    create(driver)
    driver.until(lambda: driver.caches(state), state)
    driver.until(lambda: replicas(driver) == 2, "replicas may start")
    status = driver.deployment_status()
    assert status["cache"] == "Failed"
    assert next(c for c in status["conditions"] if c["type"] == "CacheReady")["reason"] == reason
    assert len(driver.plain.list(JOB, driver.namespace)) == jobs
    assert staged(driver) == []


def test_an_inert_bundle_is_not_shipped(driver: Driver) -> None:
    driver.kubelet.proved = proof(cold=10, warm=11)
    create(driver)
    [cache] = driver.until(lambda: driver.caches("Ineffective"), "Ineffective")
    driver.until(lambda: replicas(driver) == 2, "replicas may start")
    assert driver.deployment_status()["cache"] == "Cold"
    assert driver.store.list_manifests(driver.namespace, cache["spec"]["key"]) == []


def test_other_bytes_than_rank_0_promised_are_never_published(driver: Driver) -> None:
    driver.kubelet.staged = b"another archive!!"
    create(driver, tuning={"ranks": 2, "attempts": 1})
    [cache] = driver.until(lambda: driver.caches("Failed"), "Failed")
    assert cache["status"]["lastFailure"]["reason"] == "DigestMismatch"
    assert driver.store.list_manifests(driver.namespace, cache["spec"]["key"]) == []
    assert staged(driver) == []


def test_an_object_of_that_name_that_is_not_ours_is_left_alone(driver: Driver, kubernetes: Kubectl) -> None:
    kubernetes("create", "deployment", "qwen3", "--image=other", "-n", driver.namespace)
    create(driver)
    driver.until(lambda: stalled(driver) == "NameTaken", "the conflict is reported")
    live = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    assert live
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "other"


def stalled(driver: Driver) -> str:
    conditions = driver.deployment_status().get("conditions", [])
    return next((str(c["reason"]) for c in conditions if c["type"] == "Stalled" and c["status"] == "True"), "")


def test_a_deleted_namespace_of_objects_leaves_nothing_staged(driver: Driver) -> None:
    create(driver)
    driver.kubelet.running_only = True
    driver.until(lambda: driver.caches("Tuning"), "it tunes")
    [cache] = driver.caches()
    driver.plain.delete(INFERENCE_DEPLOYMENT, driver.namespace, "qwen3")
    driver.plain.delete(STARTUP_CACHE, driver.namespace, cache["metadata"]["name"])
    prefix = staging_prefix("", driver.namespace, cache["spec"]["key"], f"{cache['metadata']['uid']}-1")
    assert prefix
    driver.until(lambda: not driver.caches(), "it is gone")
    driver._caches.reconcile(driver.namespace, cache["metadata"]["name"])
    assert staged(driver) == []


def trust(driver: Driver) -> Any:
    return driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust")


def test_a_rotated_key_tunes_nothing_again_and_a_lost_one_does(driver: Driver) -> None:
    create(driver)
    driver.until(lambda: warm(driver), "replicas may start")
    old = signing.Signer(driver.private)
    driver.private, driver.also_trusted = signing.generate(), {old.signer: old.public_key}
    driver.restart(Writes())
    for _ in range(3):
        driver.step()
    [cache] = driver.caches("Ready")
    assert (cache["status"]["attempt"], cache["status"]["signer"]) == (1, old.signer)
    assert {old.signer, signing.Signer(driver.private).signer} == decode(Trust, trust_file(driver), "trust").keys.keys()
    driver.also_trusted = {}
    driver.restart(Writes())
    driver.until(
        lambda: driver.caches("Ready")[0]["status"]["attempt"] == 2 if driver.caches("Ready") else 0, "another"
    )


def trust_file(driver: Driver) -> bytes:
    return str(trust(driver)["data"]["trust.json"]).encode()
