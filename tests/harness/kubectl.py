"""Runs kubectl, and waits for conditions."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
Object = dict[str, Any]


class CommandError(Exception):
    """A command failed; the message has its output."""


class Kubectl:
    """Runs kubectl, helm and other programs with one environment (KUBECONFIG, PATH)."""

    def __init__(self, environment: dict[str, str], context: str | None = None) -> None:
        self.environment = {**os.environ, **environment}
        self._context = ["--context", context] if context else []

    def command(self, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Runs any program; returns its standard output."""
        try:
            done = subprocess.run(
                arguments,
                input=stdin,
                env=self.environment,
                text=True,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{' '.join(arguments)}: did not finish within {timeout:.0f} s") from error
        if done.returncode:
            raise CommandError(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
        return self.command("kubectl", *self._context, *arguments, stdin=stdin, timeout=timeout)

    def helm(self, *arguments: str) -> str:
        return self.command("helm", *(["--kube-context", self._context[1]] if self._context else []), *arguments)

    def get(self, *arguments: str) -> Object:
        found: Object = json.loads(self("get", "-o", "json", *arguments))
        return found

    def find(self, *arguments: str) -> Object | None:
        """Returns the object, or None if it does not exist."""
        text = self("get", "-o", "json", "--ignore-not-found", *arguments)
        return json.loads(text) if text.strip() else None

    def items(self, *arguments: str) -> list[Object]:
        found: list[Object] = self.get(*arguments)["items"]
        return found

    def apply(self, *objects: Object) -> str:
        return self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def create(self, found: Object, *arguments: str) -> Object:
        """Creates an object; returns it as the API server stored it."""
        made: Object = json.loads(self("create", "-o", "json", "-f", "-", *arguments, stdin=json.dumps(found)))
        return made


def wait_for(look: Callable[[], T | None], what: str, seconds: float, every: float = 0.5) -> T:
    """Calls ``look`` until it returns a truthy value, and returns that value.

    Raises:
        TimeoutError: ``look`` returned no truthy value within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


def condition(found: Object | None, kind: str) -> Object:
    """Returns the condition of this type, or an empty object if there is none."""
    conditions = ((found or {}).get("status") or {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})
