"""Changes and reads InferenceDeployments in tests that use a Driver."""

from __future__ import annotations

from typing import Any

from support.driver import Driver
from support.objects import inference_deployment
from tunecast_operator.runtime.cluster import DEPLOYMENT, INFERENCE_DEPLOYMENT


def create(driver: Driver, name: str = "qwen3", **spec: Any) -> None:
    wanted = {"replicas": 2, "tuning": {"ranks": 2}, **spec}
    owner = inference_deployment(**{field: value for field, value in wanted.items() if value is not None})
    owner["metadata"] = {"name": name, "namespace": driver.namespace}
    driver.plain.create(INFERENCE_DEPLOYMENT, owner)


def change(driver: Driver, name: str = "qwen3", **spec: Any) -> None:
    found = driver.plain.get(INFERENCE_DEPLOYMENT, driver.namespace, name)
    assert found
    patch = {**inference_deployment(**{"replicas": 2, "tuning": {"ranks": 2}, **spec}), "metadata": found["metadata"]}
    patch["metadata"].pop("managedFields", None)
    driver.plain.apply(INFERENCE_DEPLOYMENT, patch)


def replicas(driver: Driver, name: str = "qwen3") -> Any:
    found = driver.plain.get(DEPLOYMENT, driver.namespace, name)
    return found and found["spec"]["replicas"]


def staged(driver: Driver) -> list[tuple[str, str]]:
    return driver.store.staged_attempts(driver.namespace)


def warm(driver: Driver) -> bool:
    return driver.deployment_status().get("cache") == "Hit" and replicas(driver) == 2
