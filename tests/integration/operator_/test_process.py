"""The operator and `helm test` as processes of a user without a name or home, as OpenShift runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.kubectl import Kubectl, condition, wait_for
from support.arbitrary_user import UID, arbitrary_user
from support.objects import inference_deployment
from support.operator_process import answers, operator
from support.operator_process import environment as variables
from support.s3 import S3

pytestmark = pytest.mark.integration
NAMESPACE = "any-user"


@pytest.fixture
def environment(kubernetes: Kubectl, s3: S3, tmp_path: Path) -> dict[str, str]:
    """Returns the chart's variables, and a kubeconfig that any user can read."""
    kubernetes("create", "namespace", NAMESPACE)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubernetes("config", "view", "--raw", "--flatten"))
    tmp_path.chmod(0o755)
    return variables(str(kubeconfig), NAMESPACE, s3.settings(), s3.environment)


def test_operator_and_helm_test_run_as_any_user(
    kubernetes: Kubectl, environment: dict[str, str], tmp_path: Path
) -> None:
    with operator(environment, tmp_path, arbitrary_user(tmp_path)) as process:
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
    assert f"ok: bucket {environment['TUNECAST_BUCKET']} supports all operations" in done.stdout
