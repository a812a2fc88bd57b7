"""The operator and `helm test` as processes: of a user without a name and without a home, as OpenShift runs them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.deploy import ROOT
from harness.kubectl import Kubectl, condition, wait_for
from support.arbitrary_user import UID, arbitrary_user
from support.objects import inference_deployment
from support.s3 import S3

pytestmark = pytest.mark.integration
NAMESPACE = "any-user"
RUN = """
import os
from tunecast_cache.store import Store
from tunecast_operator.__main__ import log_at, run
from tunecast_operator.cluster import connect
from tunecast_operator.installation import from_environment

installation = from_environment(os.environ)
log_at("INFO")
run(installation, connect(4), Store(installation.store), int(os.environ["LIVENESS_PORT"]))
"""


def free_port() -> int:
    with socket.socket(socket.AF_INET6) as listener:  # of both families
        listener.bind(("::", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def environment(kubernetes: Kubectl, s3: S3, tmp_path: Path) -> dict[str, str]:
    """The chart's variables, and a kubeconfig in place of a pod's service account."""
    kubernetes("create", "namespace", NAMESPACE)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubernetes("config", "view", "--raw", "--flatten"))
    tmp_path.chmod(0o755)
    return {
        **s3.environment,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("operator", "cache")),
        "KUBECONFIG": str(kubeconfig),
        "TUNECAST_NAMESPACE": NAMESPACE,
        "TUNECAST_BUCKET": s3.bucket,
        "TUNECAST_ENDPOINT": s3.endpoint,
        "TUNECAST_INIT_IMAGE": "init:1",
        "TUNECAST_WATCH_NAMESPACES": NAMESPACE,
        "TUNECAST_METRICS_PORT": str(free_port()),
        "LIVENESS_PORT": str(free_port()),
    }


@contextmanager
def operator(environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [*arbitrary_user(folder), sys.executable, "-c", RUN]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as it:
        try:
            yield it
        finally:
            it.terminate()
            it.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.URLError:
        return False


def test_operator_and_helm_test_run_as_any_user(
    kubernetes: Kubectl, environment: dict[str, str], tmp_path: Path
) -> None:
    with operator(environment, tmp_path) as process:
        owner = inference_deployment(tuning={"policy": "Never"}, replicas=0)
        owner["metadata"] = {"name": "qwen3", "namespace": NAMESPACE}
        kubernetes.apply(owner)

        def ready() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            found = kubernetes.get("infd", "qwen3", "-n", NAMESPACE)
            return condition(found, "CacheReady").get("reason") == "TuningDisabled"

        wait_for(ready, "the operator writes the status", 60)
        assert Path(f"/proc/{process.pid}").stat().st_uid == UID
        for host in ("127.0.0.1", "[::1]"):
            assert answers(f"http://{host}:{environment['LIVENESS_PORT']}/healthz")
            assert answers(f"http://{host}:{environment['TUNECAST_METRICS_PORT']}/metrics")
    check = [*arbitrary_user(tmp_path), sys.executable, "-m", "tunecast_operator.check"]
    done = subprocess.run(check, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"ok: bucket {environment['TUNECAST_BUCKET']} takes uploads" in done.stdout
