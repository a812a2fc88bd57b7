"""One real cluster for all end-to-end tests, with our images and our chart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.steps import tiny
from harness import deploy
from harness.kubectl import Kubectl


@dataclass(frozen=True)
class World:
    """A cluster with Tunecast in it."""

    kubectl: Kubectl
    environment: dict[str, str]

    def namespace(self, name: str, labels: dict[str, str] | None = None) -> str:
        """Makes a namespace whose pods may read the bucket."""
        self.kubectl.apply(deploy.namespace(name, labels))
        self.kubectl.apply(deploy.s3_secret(name, self.environment))
        return name

    def apply(self, name: str, namespace: str, **changes: Any) -> None:
        self.kubectl.apply(tiny(name, namespace, **changes))


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    name = ("--name", f"e2e-{os.getpid()}")
    try:
        deploy.build()
        deploy.cluster("up", *name)
        environment = deploy.cluster_environment(*name)
        kubectl = Kubectl(environment)
        deploy.load_images(*name)
        kubectl.apply(deploy.namespace(deploy.SYSTEM_NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"}))
        kubectl.apply(deploy.s3_secret(deploy.SYSTEM_NAMESPACE, environment))
        deploy.install(kubectl, deploy.values(environment))
        yield World(kubectl, environment)
    finally:
        deploy.cluster("down", *name)
