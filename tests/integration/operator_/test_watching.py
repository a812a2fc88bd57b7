"""The operator's watches survive missing CRDs, and bursts are not throttled."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.kubectl import Kubectl, condition, wait_for
from support.kubernetes import CRDS, control_plane, install_crds
from support.objects import inference_deployment
from support.operator_process import PROGRAM, answers
from support.operator_process import environment as variables
from support.s3 import S3

pytestmark = pytest.mark.integration
NAMESPACE = "watched"
MANY = 200
FLOOR_SECONDS = 40.0  # with 16 workers of kopf, which linger for 5 s, it would take 62 s


class Operator:
    """The operator as a process, which is restarted as Kubernetes would restart its container."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.environment, self.log = environment, log
        self.port = environment["LIVENESS_PORT"]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-c", PROGRAM], env=self.environment, stdout=log, stderr=log)

    def ready(self) -> bool:
        return answers(f"http://127.0.0.1:{self.port}/readyz")

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def restart_once_it_ended(self) -> None:
        wait_for(lambda: self.process.poll() is not None, "the operator ends", 60)
        assert self.process.returncode != 0
        self.process = self._start()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kubectl]:
    """A separate control plane, because these tests delete CRDs."""
    with control_plane("watching") as kubectl:
        kubectl("create", "namespace", NAMESPACE)
        yield kubectl


@pytest.fixture
def operator(cluster: Kubectl, s3: S3, tmp_path: Path) -> Iterator[Operator]:
    environment = variables(cluster.environment["KUBECONFIG"], NAMESPACE, s3.settings(), s3.environment)
    running = Operator(environment, tmp_path / "log")
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait(30)


def apply(kubectl: Kubectl, *names: str) -> None:
    items = []
    for name in names:
        owner = inference_deployment(tuning={"policy": "Never"}, replicas=0)
        items.append({**owner, "metadata": {"name": name, "namespace": NAMESPACE}})
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def helm_test(operator: Operator) -> str:
    """Returns the checks of `helm test` that fail."""
    check = [sys.executable, "-m", "tunecast_operator.check"]
    done = subprocess.run(check, env=operator.environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    return done.stderr


def looked_at(kubectl: Kubectl) -> int:
    found = kubectl.items("infd", "-n", NAMESPACE)
    return sum(condition(owner, "CacheReady").get("reason") == "TuningDisabled" for owner in found)


def test_a_burst_of_objects_is_not_throttled(cluster: Kubectl, operator: Operator) -> None:
    wait_for(operator.ready, "the operator watches", 60)
    apply(cluster, *(f"burst-{number}" for number in range(MANY)))
    started = time.monotonic()
    wait_for(lambda: looked_at(cluster) >= MANY, "every object is reconciled", FLOOR_SECONDS * 4, every=0.5)
    taken = time.monotonic() - started
    cluster("delete", "infd", "--all", "-n", NAMESPACE, "--wait=false")
    assert taken < FLOOR_SECONDS, f"{MANY} objects took {taken:.1f} s"


def test_crds_that_come_after_the_operator_are_noticed(cluster: Kubectl, operator: Operator) -> None:
    """If CRDs are deleted while the operator runs, it ends, and Kubernetes restarts it."""
    wait_for(operator.ready, "the operator watches", 60)
    cluster("delete", "-f", str(CRDS))
    operator.restart_once_it_ended()
    assert "a watch ended" in operator.log_text()
    wait_for(lambda: "are missing: install them" in operator.log_text(), "the operator reports what it waits for", 60)
    assert not operator.ready()
    assert "are missing: set crds.enabled" in helm_test(operator)
    assert answers(f"http://127.0.0.1:{operator.port}/healthz"), "the operator is alive"
    install_crds(cluster)
    wait_for(operator.ready, "the operator watches", 60)
    apply(cluster, "late")
    wait_for(lambda: looked_at(cluster) == 1, "the operator reconciles new objects", 60)
