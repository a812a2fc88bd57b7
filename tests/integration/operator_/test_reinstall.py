"""Uninstall and reinstall: replicas start warm in between, and nothing is tuned or rolled out again."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

from harness.deploy import ROOT
from harness.kubectl import Kubectl
from support.driver import Driver, Writes
from support.objects import inference_deployment
from support.s3 import S3
from tunecast_core.bundle import pack as bundle
from tunecast_core.hardware import Hardware
from tunecast_core.records.codec import decode
from tunecast_core.trust.settings import Trust
from tunecast_init.fetch import Phases, fetch
from tunecast_init.settings import Settings
from tunecast_operator.runtime.cluster import CONFIG_MAP, DEPLOYMENT, INFERENCE_DEPLOYMENT, JOB, SECRET
from tunecast_operator.runtime.signing_key import load_keys

pytestmark = pytest.mark.integration
RELEASE, MODELS, KEY = "tunecast-again", "served-again", "tunecast-signing-key"
FILES = {"vllm/torch_compile_cache/h/x.py": b"print()", "vllm/torch_compile_cache/h/y.so": b"\x7fELF" * 500}


def install(kubectl: Kubectl, s3: S3) -> Driver:
    """Installs the chart, and starts an operator with the current signing key, as its Deployment would."""
    values = {"s3": {"bucket": s3.bucket, "endpoint": s3.endpoint}, "image": {"repository": "none"}}
    arguments = ["upgrade", "--install", RELEASE, str(ROOT / "charts" / "tunecast"), "--namespace", RELEASE]
    kubectl.command("helm", *arguments, "--take-ownership", "--values", "-", stdin=json.dumps(values))
    driver = Driver(kubectl.environment["KUBECONFIG"], s3.settings(), MODELS)
    load_keys(driver.plain, RELEASE, KEY)
    secret = driver.plain.get(SECRET, RELEASE, KEY) or {}
    driver.private = base64.b64decode(secret["data"]["ed25519.key"])
    driver.restart(Writes())
    return driver


def uninstall(kubectl: Kubectl) -> None:
    kubectl.command("helm", "uninstall", RELEASE, "--namespace", RELEASE, "--wait")


def warm(driver: Driver) -> bool:
    deployment = driver.plain.get(DEPLOYMENT, MODELS, "qwen3") or {"spec": {}}
    return driver.deployment_status().get("cache") == "Hit" and bool(deployment["spec"].get("replicas"))


def replica_gets(driver: Driver, mount: Path) -> dict[str, bytes]:
    """Returns what a new replica would install, with the real code and the objects in its namespace."""
    mount.mkdir()
    found = driver.plain.get(CONFIG_MAP, MODELS, "tunecast-trust") or {}
    trust = decode(Trust, found["data"]["trust.json"].encode(), "trust")
    settings = Settings(
        driver.deployment_status()["key"], MODELS, mount, mount, frozenset(), bytecode=True, hardware=Hardware()
    )
    report = fetch(settings, trust, Phases(time.monotonic, time.monotonic()), time.monotonic() + 20)
    assert report.result == "Hit"
    return {str(path.relative_to(mount)): path.read_bytes() for path in mount.rglob("*") if path.is_file()}


def test_it_keeps_serving_warm(kubernetes: Kubectl, s3_credentials: S3, tmp_path: Path) -> None:
    for namespace in (RELEASE, MODELS):
        kubernetes("create", "namespace", namespace)
    driver = install(kubernetes, s3_credentials)
    for path, data in FILES.items():
        (tmp_path / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / path).write_bytes(data)
    driver.kubelet.archive = bundle.pack(tmp_path / "source", sorted(FILES), tmp_path / "archive")
    driver.kubelet.staged = (tmp_path / "archive").read_bytes()
    owner = inference_deployment(replicas=2, tuning={"ranks": 2})
    driver.plain.create(INFERENCE_DEPLOYMENT, {**owner, "metadata": {"name": "qwen3", "namespace": MODELS}})
    driver.until(lambda: warm(driver), "replicas may start")
    for _ in range(3):
        driver.step()
    template = (driver.plain.get(DEPLOYMENT, MODELS, "qwen3") or {})["spec"]["template"]

    uninstall(kubernetes)
    kubernetes("scale", "deployment", "qwen3", "--replicas=3", "-n", MODELS)
    assert replica_gets(driver, tmp_path / "meanwhile") == FILES
    assert len(driver.caches("Ready")) == 1, "the CRDs and their objects stay"

    again = install(kubernetes, s3_credentials)
    assert again.private == driver.private
    for _ in range(5):
        again.step()
    expected = {"PATCH Deployment", "PUT InferenceDeployment/status", "POST Event"}
    assert set(again.writes.names) <= expected, "only the scale, which the spec controls, and its report change"
    assert warm(again)
    assert len(again.plain.list(JOB, MODELS)) == 1
    deployment = again.plain.get(DEPLOYMENT, MODELS, "qwen3") or {}
    assert (deployment["spec"]["replicas"], deployment["spec"]["template"]) == (2, template)
    assert replica_gets(again, tmp_path / "afterwards") == FILES
    uninstall(kubernetes)
