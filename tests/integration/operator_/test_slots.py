"""StartupCaches of one namespace tune in turn, on a real API server with a real Job controller."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest

from harness.kubectl import condition
from support.driver import Driver, Killed, Writes
from support.objects import inference_deployment, pod_template
from tunecast_operator.plan.outcome import finished
from tunecast_operator.plan.slots import SlotLimits
from tunecast_operator.runtime.cluster import DEPLOYMENT, INFERENCE_DEPLOYMENT, JOB

pytestmark = pytest.mark.integration
NAMES = ("first", "second", "third")


@pytest.fixture
def limited(driver: Driver) -> Driver:
    driver.limits = SlotLimits(1)
    driver.restart(Writes())
    return driver


def create(driver: Driver, name: str, **tuning: Any) -> None:
    """Creates an InferenceDeployment of a model of its own."""
    template = pod_template(f"--served-model-name={name}", image=f"vllm:{name}")
    owner = inference_deployment(replicas=2, template=template, tuning={"ranks": 1, **tuning})
    driver.plain.create(INFERENCE_DEPLOYMENT, {**owner, "metadata": {"name": name, "namespace": driver.namespace}})


def referred(driver: Driver, name: str) -> bool:
    return bool(driver.deployment_status(name).get("startupCaches"))


def cache_of(driver: Driver, name: str) -> dict[str, Any]:
    (reference,) = driver.deployment_status(name)["startupCaches"]
    return next(cache for cache in driver.caches() if cache["metadata"]["name"] == reference["name"])


def at_work(driver: Driver) -> int:
    return sum(not finished(job) for job in driver.plain.list(JOB, driver.namespace))


def test_three_tune_one_after_the_other_in_the_order_of_their_age(limited: Driver) -> None:
    driver = limited
    for name in NAMES:
        create(driver, name)
        driver.until(partial(referred, driver, name), "a StartupCache")
    driver.until(lambda: cache_of(driver, "third")["status"].get("queuePosition") == 2, "the third one to wait")
    third = condition(cache_of(driver, "third"), "Ready")
    assert third["reason"] == "Queued"
    assert third["message"] == "1 tuning runs already, and tuning.maxConcurrent is 1: this one is 2nd in the queue"
    ready: list[str] = []
    while len(ready) < len(NAMES):
        driver.step()
        assert at_work(driver) <= 1
        ready += [n for n in NAMES if n not in ready and cache_of(driver, n)["status"]["state"] == "Ready"]
    assert ready == [*NAMES]
    assert all("queuePosition" not in cache["status"] for cache in driver.caches())


def test_replicas_of_one_that_waits_too_long_start_cold(limited: Driver) -> None:
    driver = limited
    driver.kubelet.running_only = True
    create(driver, "first")
    driver.until(lambda: driver.caches("Tuning"), "the first one to tune")
    create(driver, "second", queueTimeout="2m")
    driver.until(partial(referred, driver, "second"), "a StartupCache")
    driver.until(lambda: condition(cache_of(driver, "second"), "Ready")["reason"] == "QueueTimeout", "it is late")
    driver.until(
        lambda: (driver.plain.get(DEPLOYMENT, driver.namespace, "second") or {}).get("spec", {}).get("replicas") == 2,
        "replicas to start cold",
    )
    driver.kubelet.running_only = False
    driver.until(lambda: cache_of(driver, "second")["status"]["state"] == "Ready", "tuning in its turn")


def test_one_without_room_lets_the_next_one_tune(limited: Driver) -> None:
    driver = limited
    driver.kubelet.ranks = []
    create(driver, "first")
    driver.until(lambda: at_work(driver) == 1, "the first one to have a Job")
    create(driver, "second")
    driver.until(partial(referred, driver, "second"), "a StartupCache")
    driver.until(lambda: cache_of(driver, "first")["status"].get("requeues"), "the first one to be requeued")
    driver.kubelet.ranks = None
    driver.until(lambda: cache_of(driver, "second")["status"]["state"] == "Ready", "the second one to tune")
    driver.until(lambda: cache_of(driver, "first")["status"]["state"] == "Ready", "the first one to tune")


@pytest.mark.parametrize("seed", range(3))
def test_an_operator_that_is_restarted_at_any_time_keeps_the_limit(limited: Driver, seed: int) -> None:
    """Restarts after writes of status. A Job whose attempt no status shows yet is not counted."""
    driver, chance = limited, random.Random(seed)
    for name in NAMES:
        create(driver, name)
    for _ in range(12):
        driver.restart(Writes(("PUT StartupCache/status", chance.randint(1, 4))))
        for _ in range(2):
            try:
                driver.step()
            except Killed:
                driver.restart(Writes())
            assert at_work(driver) <= 1
    driver.restart(Writes())
    driver.until(lambda: len(driver.caches("Ready")) == len(NAMES), "all of them to tune")
