"""One namespace's user: what is applied there, and what can be seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chaos.world import World

from e2e.steps import tiny
from harness import deploy
from harness.kubectl import Object

NAME = "llm"
STANDIN = Path(__file__).resolve().parents[2] / "tests" / "ranks" / "standin.py"


class User:
    """Serves an engine of the standard library's, which compiles once and answers as vLLM does."""

    def __init__(self, world: World, namespace: str) -> None:
        self.world, self.namespace, self.revisions = world, namespace, 1
        whole = tiny(NAME, namespace)["spec"]
        pod = whole["pod"]
        self.spec: dict[str, Any] = {
            "replicas": 2,
            "model": {"name": "stand-in"},
            "engine": {
                "image": whole["engine"]["image"],
                "command": ["python3", "/standin/standin.py", "--model", "$(MODEL)"],
                "args": ["--host=0.0.0.0", "--port=8000", "--compile-seconds=3"],
                "env": [{"name": "PATH", "value": "/opt/vllm/bin:/usr/local/bin:/usr/bin:/bin"}],
                "port": 8000,
            },
            "pod": {
                "volumes": [*pod["volumes"], {"name": "standin", "configMap": {"name": "standin"}}],
                "volumeMounts": [*pod["volumeMounts"], {"name": "standin", "mountPath": "/standin"}],
            },
            "tuning": {"ranks": 2, "attempts": 10, "timeout": "10m", "queueTimeout": "5m"},
            "cache": {"credentialsSecret": {"name": deploy.S3_SECRET}},
        }

    def begin(self) -> None:
        script = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "standin", "namespace": self.namespace},
            "data": {"standin.py": STANDIN.read_text()},
        }
        secret = deploy.s3_secret(self.namespace, self.world.environment)
        for found in (deploy.namespace(self.namespace), script, secret):
            self._apply(found)
        self.apply()

    def apply(self) -> None:
        metadata = {"name": NAME, "namespace": self.namespace}
        self._apply(
            {
                "apiVersion": "tunecast.io/v1alpha1",
                "kind": "InferenceDeployment",
                "metadata": metadata,
                "spec": self.spec,
            }
        )

    def _apply(self, found: Object) -> None:
        self.world.patiently("apply", "-f", "-", stdin=json.dumps(found))

    def change(self, seconds: int) -> None:
        last = f"--compile-seconds={seconds}"
        if self.spec["engine"]["args"][-1] != last:
            self.spec["engine"]["args"][-1] = last
            self.revisions += 1
            self.apply()

    def items(self, kind: str, selector: str = "") -> list[Object]:
        chosen = ["-l", selector] if selector else []
        found: list[Object] = json.loads(
            self.world.patiently("get", kind, "-n", self.namespace, "-o", "json", *chosen)
        )["items"]
        return found

    def pods(self, label: str) -> list[Object]:
        return [pod for pod in self.items("pods", label) if not pod["metadata"].get("deletionTimestamp")]

    def uids(self, label: str) -> list[str]:
        return sorted(pod["metadata"]["uid"] for pod in self.pods(label) if pod["status"]["phase"] == "Running")

    def status(self) -> Object:
        found = next(iter(self.items("inferencedeployments")), {})
        return {**(found.get("status") or {}), "generation": found.get("metadata", {}).get("generation")}
