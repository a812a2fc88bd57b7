"""The cluster with Tunecast that every end-to-end test gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from e2e.steps import tiny
from harness import deploy
from harness.kubectl import CommandError, Kubectl


@dataclass(frozen=True)
class World:
    """A cluster with Tunecast installed."""

    kubectl: Kubectl
    environment: dict[str, str]

    def namespace(self, name: str, labels: dict[str, str] | None = None) -> str:
        """Makes a namespace whose pods may read the bucket."""
        self.kubectl.apply(deploy.namespace(name, labels))
        self.kubectl.apply(deploy.s3_secret(name, self.environment))
        return name

    def apply(self, name: str, namespace: str, **changes: Any) -> None:
        self.kubectl.apply(tiny(name, namespace, **changes))


METRICS = f"/api/v1/namespaces/{deploy.SYSTEM_NAMESPACE}/services/tunecast-metrics:metrics/proxy/metrics"


def metrics(world: World) -> dict[str, str]:
    """Returns the operator's metrics by name and labels; there are none while it starts."""
    try:
        lines = world.kubectl("get", "--raw", METRICS).splitlines()
    except CommandError:
        return {}
    return {name: value for name, _, value in (line.rpartition(" ") for line in lines)}
