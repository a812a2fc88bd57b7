"""Plants a Secret's value wherever an engine can print it, and searches every place that the output can reach.

The rank is the real program with the settings of a real Job's Secret, and it stages to a real S3 server.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from harness.kubectl import Kubectl
from ranks.attempt import STANDIN, free_port, tools
from support.driver import Driver
from support.kubelet import Kubelet
from support.objects import inference_deployment, pod_template
from support.s3 import S3
from tunecast_core.records.codec import canonical
from tunecast_core.records.job import SETTINGS_FILE, JobSettings
from tunecast_core.store.s3 import connect
from tunecast_operator.runtime.cluster import INFERENCE_DEPLOYMENT, SECRET, Cluster

pytestmark = pytest.mark.integration
CANARY, MOUNTED_CANARY = "sk-canary-0123456789", "hf-canary-0123456789"
MOUNTED = "/etc/hub"
NAME, THEIRS, MORE = "HUB_API_KEY", "hub", "hub-token"
KINDS = "inferencedeployments,startupcaches,deployments,replicasets,jobs,pods,services,configmaps,secrets,events"
NUMBERS = itertools.count()


class Node(Kubelet):
    """Runs the one rank as the kubelet would, and reads the bucket before the operator does."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, s3: S3) -> None:
        super().__init__(cluster, namespace)
        self.folder, self.s3 = folder, s3
        self.found: dict[str, bytes] = {}
        self.ended: dict[str, Any] = {}

    def _end(self, pod: dict[str, Any], settings: JobSettings) -> None:
        self.ended = self.ended or self._run(pod, settings)  # the scheduler may update the pod at the same time
        self._set(pod, "Failed" if self.ended["exitCode"] else "Succeeded", {"terminated": self.ended})

    def _run(self, pod: dict[str, Any], settings: JobSettings) -> dict[str, Any]:
        for name in ("settings", "mount", "tmp"):
            (self.folder / name).mkdir()
        paths = tuple(path.replace(MOUNTED, str(self.folder / "hub")) for path in settings.secret_paths)
        here = replace(settings, mount_path=str(self.folder / "mount"), secret_paths=paths)
        (self.folder / "settings" / SETTINGS_FILE).write_bytes(canonical(here))
        command = pod["spec"]["containers"][0]["command"]
        engine = [part.replace(f"$({NAME})", CANARY) for part in command[command.index("--") + 1 :]]
        engine = [part.replace(MOUNTED, str(self.folder / "hub")) for part in engine]
        (self.folder / "hub" / "..data").mkdir(parents=True)
        (self.folder / "hub" / "..data" / "token").write_text(f"{MOUNTED_CANARY}\n")
        (self.folder / "hub" / "token").symlink_to("..data/token")
        flags = [f"--settings={self.folder}/settings", f"--termination-log={self.folder}/termination-log"]
        environment = {"PATH": os.environ["PATH"], "TMPDIR": f"{self.folder}/tmp", NAME: CANARY}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # so that no bytecode has to be searched
        done = subprocess.run(
            [sys.executable, "-B", str(tools(self.folder)), *flags, "--", *engine],
            env={**environment, "JOB_COMPLETION_INDEX": "0"}, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        message = (self.folder / "termination-log").read_bytes()
        self.found |= {"a rank's log": done.stdout + done.stderr, "its termination message": message}
        self.found |= {"its settings": canonical(settings), **objects(self.s3, f"v1/{self._namespace}/")}
        return {"exitCode": done.returncode, "reason": "x", "message": message.decode()}


def objects(s3: S3, prefix: str) -> dict[str, bytes]:
    """Returns all objects in the bucket, unpacked, with their names."""
    with closing(connect(s3.settings())) as client:
        names = [item["Key"] for item in client.list_objects_v2(Bucket=s3.bucket, Prefix=prefix).get("Contents", ())]
        bodies = {name: client.get_object(Bucket=s3.bucket, Key=name)["Body"].read() for name in names}
    return {name: name.encode() + unpacked(body) for name, body in bodies.items()}


def unpacked(body: bytes) -> bytes:
    """Returns an archive's tar, a manifest's payload, or the bytes unchanged."""
    if body.startswith(b"\x1f\x8b"):
        return gzip.decompress(body)
    if body.startswith(b'{"payload"'):
        return base64.b64decode(json.loads(body)["payload"])
    return body


def reported(kubectl: Kubectl, namespace: str) -> Iterator[tuple[str, bytes]]:
    """Returns every object of the namespace except the tenant's own Secret, with the data of other Secrets."""
    for found in kubectl.items(KINDS, "-n", namespace):
        if found["kind"] != "Secret" or found["metadata"]["name"] not in {THEIRS, MORE}:
            data = [base64.b64decode(value) for value in found.get("data", {}).values() if found["kind"] == "Secret"]
            yield f"{found['kind']} {found['metadata']['name']}", json.dumps(found).encode() + b"".join(data)


@pytest.mark.parametrize("refuses", [False, True], ids=["proves", "fails"])
def test_a_secrets_value_gets_nowhere(
    kubernetes: Kubectl, s3_credentials: S3, tmp_path: Path, caplog: pytest.LogCaptureFixture, refuses: bool
) -> None:
    caplog.set_level(logging.INFO)
    namespace, port = f"secrets-{next(NUMBERS)}", free_port()
    kubernetes("create", "namespace", namespace)
    kubernetes("create", "secret", "generic", THEIRS, "-n", namespace, f"--from-literal=key={CANARY}")
    kubernetes("create", "secret", "generic", MORE, "-n", namespace, f"--from-literal=token={MOUNTED_CANARY}")
    driver = Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), namespace)
    node = driver.kubelet = Node(driver.plain, namespace, tmp_path, s3_credentials)
    command = [sys.executable, str(STANDIN), "vllm", "serve", "Qwen/Qwen3-8B", f"--port={port}", f"--api-key=$({NAME})"]
    command += [
        f"--hub-token={MOUNTED}/token",
        "--compile-seconds=2",
        "--max-num-seqs=1",
    ]  # so that a warm start is faster
    pod = {"volumes": [{"name": "hub", "secret": {"secretName": MORE}}]}
    mounts = [{"name": "hub", "mountPath": MOUNTED}]
    variable = {"name": NAME, "valueFrom": {"secretKeyRef": {"name": THEIRS, "key": "key"}}}
    flags = ["--refuses-key"] if refuses else []
    template = pod_template(*flags, pod=pod, command=command, env=[variable], volumeMounts=mounts)
    owner = inference_deployment(template=template, tuning={"attempts": 1})
    owner["metadata"] = {"name": "qwen3", "namespace": namespace}
    driver.plain.create(INFERENCE_DEPLOYMENT, owner)
    driver.until(lambda: driver.caches("Failed" if refuses else "Ready"), "tuning ends")
    driver.step()

    found = {**node.found, **objects(s3_credentials, f"v1/{namespace}/"), **dict(reported(kubernetes, namespace))}
    found |= {"the operator's log": caplog.text.encode(), "metrics": generate_latest(driver.metrics.registry)}
    canaries = (CANARY.encode(), MOUNTED_CANARY.encode())
    assert [name for name, data in found.items() if any(canary in data for canary in canaries)] == []
    assert driver.plain.list(SECRET, namespace, "tunecast.io/startup-cache") == []

    # The value was in the log, in a message for status and Event, and in a layer, which was excluded.
    assert b"'api_key': ['[redacted]']" in found["a rank's log"]
    assert b"logged in as [redacted]" in found["a rank's log"]
    [status] = [cache["status"] for cache in driver.caches()]
    events = [data for name, data in found.items() if name.startswith("Event ")]
    bundle = [name for name in found if "/blobs/" in name]
    if refuses:
        assert "the hub refused [redacted]" in status["lastFailure"]["message"]
        assert [data for data in events if b"the hub refused [redacted]" in data]
        assert bundle == []
    else:
        assert {note["layer"]: note["state"] for note in status["notes"]}["Triton"] == "Unsafe"
        assert any(b"torch_compile_cache" in found[name] for name in bundle)
        assert [name for name in node.found if "/staging/" in name]
