"""A user changes one InferenceDeployment repeatedly on a real API server: only some changes start a tuning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.kubectl import Kubectl
from support.driver import Driver
from support.objects import inference_deployment, pod_template
from support.s3 import S3
from tunecast_operator.identity import KEY_LABEL
from tunecast_operator.runtime.cluster import DEPLOYMENT, INFERENCE_DEPLOYMENT, JOB

pytestmark = pytest.mark.integration
Spec = dict[str, Any]
PROBE = {"httpGet": {"path": "/v1/models", "port": 8000}, "periodSeconds": 7}


def secret(name: str) -> list[Spec]:
    return [{"name": "VLLM_API_KEY", "valueFrom": {"secretKeyRef": {"name": name, "key": "key"}}}]


def engine(spec: Spec) -> Spec:
    (found,) = spec["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def with_flags(*args: str) -> Callable[[Spec], None]:
    return lambda spec: engine(spec)["args"].extend(args)


def labels(spec: Spec) -> None:
    spec["template"]["metadata"] = {"labels": {"team": "b"}, "annotations": {"note": "c"}}


TUNES_NOTHING: dict[str, Callable[[Spec], None]] = {
    "log level": with_flags("--uvicorn-log-level=warning"),
    "API key": with_flags("--api-key=another"),
    "API key in a Secret": lambda spec: engine(spec).update(env=secret("b")),
    "flag order": lambda spec: engine(spec)["args"].reverse(),
    "labels": labels,
    "probes": lambda spec: engine(spec).update(readinessProbe=PROBE, livenessProbe=PROBE),
    "replicas": lambda spec: spec.update(replicas=3),
}
SPECULATIVE = '--speculative-config={"method": "ngram", "num_speculative_tokens": %d}'
TUNES: dict[str, Callable[[Spec], None]] = {
    "image": lambda spec: engine(spec).update(image="vllm:v2"),
    "dtype": with_flags("--dtype=float16"),
    "quantisation": with_flags("--quantization=fp8"),
    "parallel size": with_flags("--tensor-parallel-size=2"),
    "speculative tokens": with_flags(SPECULATIVE % 3),
    "other speculative tokens": with_flags(SPECULATIVE % 4),
    "compile flag": with_flags('--compilation-config={"mode": 2}'),
}  # fmt: skip


@pytest.fixture
def driver(kubernetes: Kubectl, s3_credentials: S3) -> Driver:
    kubernetes("create", "namespace", "keys")
    return Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), "keys")


def apply(driver: Driver, spec: Spec) -> None:
    owner = inference_deployment(**spec)
    owner["metadata"] = {"name": "qwen3", "namespace": driver.namespace}
    driver.plain.apply(INFERENCE_DEPLOYMENT, owner)


def tuned(driver: Driver) -> tuple[int, int]:
    """Returns the numbers of StartupCaches and Jobs."""
    return len(driver.caches()), len(driver.plain.list(JOB, driver.namespace))


def rolled_out(driver: Driver, spec: Spec) -> Spec | None:
    """Waits until the Deployment has this spec and may have replicas; returns its pod template."""
    live = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    status = driver.deployment_status()
    if not live or live["spec"]["replicas"] != spec["replicas"] or status.get("cache") != "Hit":
        return None
    template: Spec = live["spec"]["template"]
    (container,) = template["spec"]["containers"]
    wanted = engine(spec)
    same = all(container.get(field) == wanted.get(field) for field in ("args", "image"))
    return template if same else None


def test_only_what_an_engine_compiles_by_is_tuned_for(driver: Driver) -> None:
    spec: Spec = {
        "replicas": 2,
        "tuning": {"ranks": 1},
        "template": pod_template("--dtype=bfloat16", "--max-model-len=8k", "--api-key=one", env=secret("a")),
    }
    apply(driver, spec)
    template = driver.until(lambda: rolled_out(driver, spec), "replicas of the first spec")
    key = template["metadata"]["labels"][KEY_LABEL]
    for why, change in TUNES_NOTHING.items():
        change(spec)
        apply(driver, spec)
        template = driver.until(lambda: rolled_out(driver, spec), f"replicas after a change of {why}")
        driver.step()
        assert (template["metadata"]["labels"][KEY_LABEL], tuned(driver)) == (key, (1, 1)), why
    keys = {key}
    for count, (why, change) in enumerate(TUNES.items(), start=2):
        change(spec)
        apply(driver, spec)
        template = driver.until(lambda: rolled_out(driver, spec), f"replicas after a change of {why}")
        keys.add(template["metadata"]["labels"][KEY_LABEL])
        assert (len(keys), *tuned(driver)) == (count, count, count), why
