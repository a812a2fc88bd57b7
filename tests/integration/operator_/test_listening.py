"""Probes and the Service follow how the engine serves; an engine that they cannot reach is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from support.driver import Driver
from support.objects import inference_deployment, pod_template
from tunecast_operator.runtime.cluster import DEPLOYMENT, INFERENCE_DEPLOYMENT, SERVICE, STARTUP_CACHE

pytestmark = pytest.mark.integration
TLS = ["--ssl-keyfile=/tls/tls.key", "--ssl_certfile", "/tls/tls.crt"]


def apply(driver: Driver, **engine: Any) -> None:
    owner = inference_deployment(template=pod_template(**engine), tuning={"policy": "Never"}, replicas=1)
    owner["metadata"] = {"name": "qwen3", "namespace": driver.namespace}
    driver.plain.apply(INFERENCE_DEPLOYMENT, owner)


def schemes(driver: Driver) -> set[str]:
    found = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    containers = found["spec"]["template"]["spec"]["containers"] if found else []
    return {container["startupProbe"]["httpGet"]["scheme"] for container in containers}


def protocol(driver: Driver) -> str | None:
    found = driver.plain.get(SERVICE, driver.namespace, "qwen3")
    value: str | None = found["spec"]["ports"][0].get("appProtocol") if found else None
    return value


def test_probes_and_service_of_an_engine_with_tls(driver: Driver) -> None:
    apply(driver, args=TLS)
    driver.until(lambda: schemes(driver) == {"HTTPS"} and protocol(driver) == "https", "HTTPS")
    apply(driver, args=[])
    driver.until(lambda: schemes(driver) == {"HTTP"} and protocol(driver) is None, "HTTP")


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"args": ["--hos=127.0.0.1"]}, "the engine listens only on 127.0.0.1"),
        (
            {"args": ["--host=$(HOST)"], "env": [{"name": "HOST", "value": "localhost"}]},
            "leave out --host, or set it to 0.0.0.0, :: or the pod's own address",
        ),
        ({"command": ["sh", "-c", "exec vllm serve m --uds /run/e.sock"]}, "leave out --uds"),
        ({"args": [*TLS, "--ssl-cert-req=2"]}, "the engine demands a client certificate"),
        ({"args": ["--headless"]}, "the engine serves no HTTP"),
    ],
)
def test_engine_that_probes_cannot_reach_is_refused(driver: Driver, engine: dict[str, Any], words: str) -> None:
    apply(driver, **engine)
    driver.until(lambda: stalled(driver).get("reason") == "InvalidSpec", "InvalidSpec")
    assert words in stalled(driver)["message"]
    assert driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") is None
    assert driver.plain.list(STARTUP_CACHE, driver.namespace) == []


def stalled(driver: Driver) -> dict[str, Any]:
    conditions = driver.deployment_status().get("conditions", ())
    return next((dict(c) for c in conditions if c["type"] == "Stalled" and c["status"] == "True"), {})
