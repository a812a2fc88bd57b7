"""The user of one namespace, who applies objects there and reads them back."""

from __future__ import annotations

import json
from typing import Any

from chaos.world import World
from e2e.standin import script, standin
from e2e.steps import engine_of
from harness import deploy
from harness.kubectl import Object

NAME = "llm"


class User:
    """Serves the tests' stand-in engine, which compiles once and answers as vLLM does."""

    def __init__(self, world: World, namespace: str) -> None:
        self.world, self.namespace, self.revisions = world, namespace, 1
        tuning = {"ranks": 2, "attempts": 10, "timeout": "10m", "queueTimeout": "5m"}
        self.object = standin(NAME, namespace, replicas=2, tuning=tuning)

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.object["spec"]
        return spec

    @property
    def arguments(self) -> list[str]:
        """The engine's arguments, which callers change in place."""
        arguments: list[str] = engine_of(self.object)["args"]
        return arguments

    def begin(self) -> None:
        secret = deploy.s3_secret(self.namespace, self.world.environment)
        for found in (deploy.namespace(self.namespace), script(self.namespace), secret):
            self._apply(found)
        self.apply()

    def apply(self) -> None:
        self._apply(self.object)

    def _apply(self, found: Object) -> None:
        self.world.patiently("apply", "-f", "-", stdin=json.dumps(found))

    def change(self, seconds: int) -> None:
        last = f"--compile-seconds={seconds}"
        if self.arguments[-1] != last:
            self.arguments[-1] = last
            self.revisions += 1
            self.apply()

    def items(self, kind: str, selector: str = "") -> list[Object]:
        chosen = ["-l", selector] if selector else []
        found: list[Object] = json.loads(
            self.world.patiently("get", kind, "-n", self.namespace, "-o", "json", *chosen)
        )["items"]
        return found

    def pods(self, label: str) -> list[Object]:
        """Returns the pods that are neither terminating nor Failed: an evicted pod stays until it is collected."""
        living = (pod for pod in self.items("pods", label) if not pod["metadata"].get("deletionTimestamp"))
        return [pod for pod in living if pod["status"]["phase"] != "Failed"]

    def uids(self, label: str) -> list[str]:
        return sorted(pod["metadata"]["uid"] for pod in self.pods(label) if pod["status"]["phase"] == "Running")

    def status(self) -> Object:
        found = next(iter(self.items("inferencedeployments")), {})
        return {**(found.get("status") or {}), "generation": found.get("metadata", {}).get("generation")}
