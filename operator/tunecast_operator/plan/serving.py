"""What is known of an InferenceDeployment, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tunecast_core.records.report import InitReport
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import InferenceDeploymentStatus
from tunecast_operator.conditions import Condition
from tunecast_operator.engine import Engine
from tunecast_operator.plan.crashes import Crash
from tunecast_operator.pods import Pod
from tunecast_operator.resources.quarantine import Quarantine
from tunecast_operator.resources.revision import Revision, revision_of


@dataclass(frozen=True, slots=True)
class ObservedServing:
    owner: Mapping[str, Any]  # the InferenceDeployment
    spec: InferenceDeploymentSpec
    engine: Engine
    deployment: Mapping[str, Any] | None
    caches: Sequence[StartupCache]  # of its namespace
    pods: Sequence[Pod]  # its serving pods
    reports: Sequence[tuple[str, InitReport]]  # (the key a pod was made for, what its init container reported)
    now: datetime
    crashes: Sequence[Crash] = ()  # of all pods that share a key with a pod of this owner that crashed
    quarantine: Quarantine = field(default_factory=Quarantine)  # as the namespace's trust ConfigMap records it
    trust_version: str = ""  # resourceVersion of that ConfigMap
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # labels, by node

    @property
    def name(self) -> str:
        return str(self.owner["metadata"]["name"])

    @property
    def tunes(self) -> bool:
        return self.spec.tuning.policy != "Never"

    @property
    def live(self) -> Revision | None:
        """The revision that the Deployment was rendered with. It is held only while it has no replicas.

        An administrator scales a Deployment that is held, where no operator runs to release it.
        """
        revision = revision_of(dict(self.deployment)) if self.deployment else None
        return revision and replace(revision, held=revision.held and not self.live_replicas)

    @property
    def live_replicas(self) -> int:
        return int(((self.deployment or {}).get("spec") or {}).get("replicas", 1))

    @property
    def desired_replicas(self) -> int:
        """The spec's, else the live value; a Deployment that is held waits to become one replica."""
        if self.spec.replicas is not None:
            return self.spec.replicas
        return 1 if self.live is None or self.live.held else self.live_replicas


@dataclass(frozen=True, slots=True)
class ServingPlan:
    create_caches: Sequence[tuple[str, dict[str, Any]]]  # name and spec
    apply_deployment: dict[str, Any] | None  # to be applied where it differs
    scale: int | None  # the old revision goes on serving, at this size
    service: dict[str, Any]
    status: InferenceDeploymentStatus  # without conditions
    conditions: tuple[Condition, ...]
    quarantine: Quarantine
    outdated_caches: tuple[str, ...]  # StartupCaches whose state differs from what ``quarantine`` says
    replace: tuple[Crash, ...]  # replicas to delete: they would crash from a quarantined bundle for ever
    requeue_seconds: float | None = None  # when to look again, where no event would say so
