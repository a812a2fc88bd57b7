"""Observed state of an InferenceDeployment, and the plan for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tunecast_core.records.report import InitReport
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec, TuningPolicy
from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import InferenceDeploymentStatus
from tunecast_operator.conditions import Condition
from tunecast_operator.engine import Engine
from tunecast_operator.plan.crashes import Crash
from tunecast_operator.plan.quarantine import Protection
from tunecast_operator.pods import Pod
from tunecast_operator.resources.quarantine import Quarantine
from tunecast_operator.resources.revision import Revision, revision_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedReplicas:
    """The replicas of an InferenceDeployment, whatever its spec is."""

    owner: Mapping[str, Any]  # the InferenceDeployment
    deployment: Mapping[str, Any] | None
    caches: Sequence[StartupCache]  # all of the namespace
    pods: Sequence[Pod]  # its serving pods
    crashes: Sequence[Crash] = ()  # of all pods that share a key with a pod of this owner that crashed
    quarantine: Quarantine = field(default_factory=Quarantine)  # as the namespace's trust ConfigMap records it
    trust_version: str = ""  # resourceVersion of that ConfigMap

    @property
    def name(self) -> str:
        return str(self.owner["metadata"]["name"])

    @property
    def live(self) -> Revision | None:
        """The revision that the Deployment was rendered with. It is held only while it has no replicas.

        While no operator runs, an administrator can release a held Deployment by scaling it.
        """
        revision = revision_of(dict(self.deployment)) if self.deployment else None
        return revision and replace(revision, held=revision.held and not self.live_replicas)

    @property
    def live_replicas(self) -> int:
        return int(((self.deployment or {}).get("spec") or {}).get("replicas", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedServing(ObservedReplicas):
    """An InferenceDeployment whose spec can be read, with its replicas."""

    spec: InferenceDeploymentSpec
    engine: Engine
    reports: Sequence[tuple[str, InitReport]]  # (the key a pod was made for, what its init container reported)
    now: datetime
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # labels, by node

    @property
    def tunes(self) -> bool:
        return self.spec.tuning.policy != TuningPolicy.NEVER

    @property
    def desired_replicas(self) -> int:
        """The number in the spec, else the live one; without either, a held Deployment will get one replica."""
        if self.spec.replicas is not None:
            return self.spec.replicas
        return 1 if self.live is None or self.live.held else self.live_replicas


@dataclass(frozen=True, slots=True)
class ServingPlan:
    create_caches: Sequence[tuple[str, dict[str, Any]]]  # name and spec
    apply_deployment: dict[str, Any] | None  # to be applied if it differs
    scale: int | None  # number of replicas of the old revision, which goes on serving
    service: dict[str, Any] | None  # None if the live Service stays
    status: InferenceDeploymentStatus  # without conditions
    conditions: tuple[Condition, ...]
    protection: Protection
    requeue_seconds: float | None = None  # time until a reconciliation that no event triggers
