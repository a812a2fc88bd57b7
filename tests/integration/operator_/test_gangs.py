"""Ranks that hold GPUs idle, and StartupCaches with the same key, on a real API server with real controllers."""

from __future__ import annotations

from typing import Any

import pytest

from harness.kubectl import condition
from support.driver import Driver
from support.kubelet import bind
from support.objects import inference_deployment
from tunecast_operator import times
from tunecast_operator.plan.outcome import finished, rank_of
from tunecast_operator.runtime.cluster import INFERENCE_DEPLOYMENT, JOB, POD

pytestmark = pytest.mark.integration


def create(driver: Driver, name: str = "qwen3", **tuning: Any) -> None:
    owner = inference_deployment(replicas=2, tuning={"ranks": 2, **tuning})
    driver.plain.create(INFERENCE_DEPLOYMENT, {**owner, "metadata": {"name": name, "namespace": driver.namespace}})


def under_way(driver: Driver) -> list[dict[str, Any]]:
    return [job for job in driver.plain.list(JOB, driver.namespace) if not finished(job)]


def pods(driver: Driver) -> dict[int, dict[str, Any]]:
    found = driver.plain.list(POD, driver.namespace, "batch.kubernetes.io/job-name")
    return {rank_of(pod): pod for pod in found if not pod["metadata"].get("deletionTimestamp")}


def schedule(driver: Driver, rank: int) -> None:
    """Binds a rank to a node, at the time of the driver's clock."""
    bind(driver.plain, pods(driver)[rank])
    pod = pods(driver)[rank]
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": times.text(driver.now)}
    driver.plain.update_status(POD, {**pod, "status": {**pod["status"], "conditions": [scheduled]}})


def warm(driver: Driver, name: str = "qwen3") -> bool:
    return driver.deployment_status(name).get("cache") == "Hit"


def test_a_rank_that_runs_alone_gives_its_gpus_back_and_nothing_is_counted(driver: Driver) -> None:
    driver.kubelet.ranks = []
    create(driver)
    driver.until(lambda: len(pods(driver)) == 2, "the Job has its pods")
    for _ in range(40):
        driver.step()
    schedule(driver, 0)
    driver.kubelet.ranks = [0]
    for _ in range(3):
        driver.step()
    assert under_way(driver), "a long wait for the first node does not shorten the time for the second"
    driver.until(lambda: not driver.plain.list(JOB, driver.namespace), "the Job is deleted")
    [cache] = driver.until(lambda: [c for c in driver.caches() if c["status"].get("requeues")], "it is requeued")
    assert cache["status"]["lastFailure"]["reason"] == "RanksNotScheduled"
    assert "only 1 of 2 ranks ran within 10m" in cache["status"]["lastFailure"]["message"]
    assert "Unschedulable" in cache["status"]["lastFailure"]["message"]
    assert not cache["status"].keys() & {"failures", "disruptions"}
    assert condition(cache, "Ready")["reason"] == "QueueTimeout", "replicas may start"
    driver.kubelet.ranks = None
    driver.until(lambda: warm(driver), "tuning succeeds once there is room")


def test_a_job_that_holds_no_node_waits(driver: Driver) -> None:
    driver.kubelet.ranks = []
    create(driver)
    driver.until(lambda: driver.caches() and condition(driver.caches()[0], "Ready")["reason"] == "QueueTimeout", "late")
    [job] = driver.plain.list(JOB, driver.namespace)
    for _ in range(10):
        driver.step()
    assert [found["metadata"]["uid"] for found in under_way(driver)] == [job["metadata"]["uid"]]


def test_one_key_is_tuned_once_though_other_ranks_are_asked_for(driver: Driver) -> None:
    create(driver, "wide", ranks=3)
    create(driver, "narrow", ranks=2)
    at_once = []
    while not (warm(driver, "wide") and warm(driver, "narrow")):
        driver.step()
        at_once.append(len(under_way(driver)))
        assert len(at_once) < 100, driver.caches()
    assert max(at_once) == 1
    assert len(driver.plain.list(JOB, driver.namespace)) == 1
    assert len({cache["spec"]["key"] for cache in driver.caches()}) == 1


def test_an_impossible_job_holds_up_no_other_one_of_its_key_for_ever(driver: Driver) -> None:
    driver.kubelet.ranks = []
    create(driver, "impossible", ranks=3)
    driver.until(lambda: driver.caches("Pending"), "it is there")
    create(driver, "possible", ranks=2)
    driver.until(lambda: len(driver.caches()) == 2, "both are there")
    waiting = next(cache for cache in driver.caches() if cache["spec"]["ranks"] == 2)["metadata"]["name"]
    driver.until(lambda: len(under_way(driver)) == 2, "the other StartupCache no longer waits")
    for pod in driver.plain.list(POD, driver.namespace, f"tunecast.io/startup-cache={waiting}"):
        bind(driver.plain, pod)
    driver.kubelet.ranks = [0, 1]
    driver.until(lambda: warm(driver, "possible"), "it is tuned")
