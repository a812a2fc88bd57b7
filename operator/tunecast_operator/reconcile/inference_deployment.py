"""Reconciles an InferenceDeployment: its StartupCaches, its Deployment, its Service, and the namespace's trust."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from tunecast_core.errors import TunecastError
from tunecast_core.key import KEY_VERSION
from tunecast_core.trust.settings import CONFIG_MAP as TRUST
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.api.startup_cache import startup_cache
from tunecast_operator.api.status import InferenceDeploymentStatus, read_status
from tunecast_operator.conditions import Condition, ConditionType, Reason, kept
from tunecast_operator.engine import Engine, SpecError, check_probes, engine_of
from tunecast_operator.identity import DEPLOYMENT_LABEL, KEY_LABEL
from tunecast_operator.plan import stalled
from tunecast_operator.plan.crashes import Crash, crashes
from tunecast_operator.plan.inference_deployment import decide
from tunecast_operator.plan.serving import ObservedReplicas, ObservedServing, ServingPlan
from tunecast_operator.pods import init_report, init_runs, node
from tunecast_operator.pods import key as pod_key
from tunecast_operator.reconcile.hiccups import Hiccups
from tunecast_operator.reconcile.nodes import Nodes
from tunecast_operator.reconcile.ownership import NameTakenError, check_owner, owned
from tunecast_operator.reconcile.serving_namespace import ServingNamespace
from tunecast_operator.reconcile.status import StatusWriter
from tunecast_operator.resources.deployment import strategy_patch
from tunecast_operator.resources.quarantine import quarantine_in
from tunecast_operator.runtime.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    INFERENCE_DEPLOYMENT,
    POD,
    SERVICE,
    STARTUP_CACHE,
    Cluster,
    ClusterError,
    ConflictError,
    RejectedError,
)  # fmt: skip
from tunecast_operator.runtime.controller import GONE
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.metrics import Metrics
from tunecast_operator.runtime.publisher import Publisher

log = logging.getLogger(__name__)
RETRY_SECONDS = 15.0


class InferenceDeploymentReconciler:
    """Calls ``enqueue_cache`` for a StartupCache when the references to it or its quarantine change."""

    def __init__(
        self,
        cluster: Cluster,
        installation: Installation,
        publisher: Publisher,
        now: Callable[[], datetime],
        enqueue_cache: Callable[[str, str], None],
        metrics: Metrics,
    ) -> None:
        self._cluster, self._installation = cluster, installation
        self._namespace = ServingNamespace(cluster, installation, publisher)
        self._now, self._enqueue_cache, self._metrics = now, enqueue_cache, metrics
        self._nodes = Nodes(cluster, installation.read_nodes)
        self._status = StatusWriter(cluster, INFERENCE_DEPLOYMENT, has_event, metrics, now)
        self._hiccups = Hiccups()

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Returns after how many seconds to requeue without an event."""
        owner = self._cluster.get(INFERENCE_DEPLOYMENT, namespace, name)
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            self._status.gone(namespace, name)
            self._hiccups.over(namespace, name)
            self._namespace.settled.gone(namespace, name)
            return GONE
        replicas = self._observe_replicas(owner)
        try:
            spec, engine = _read(owner)
        except SpecError as error:
            self._keep_serving(replicas, error)
            return None
        seen = self._observe(replicas, spec, engine)
        plan = decide(seen, self._installation.init, KEY_VERSION)
        try:
            self._apply(seen, plan)
        except (NameTakenError, RejectedError) as error:
            with suppress(NameTakenError, RejectedError):  # status shows the first one
                self._keep_serving(seen, error)
            return RETRY_SECONDS
        except ConflictError:
            raise
        except ClusterError as error:
            if not self._hiccups.first(namespace, name):
                self._write_failing(owner, error)
            raise
        self._hiccups.over(namespace, name)
        self._write(owner, plan)
        return plan.requeue_seconds

    def _keep_serving(self, seen: ObservedReplicas, error: TunecastError) -> None:
        """Scales and protects the live revision, and shows why the spec can't be rolled out."""
        plan = stalled.decide(seen, error.reason, str(error))
        try:
            if seen.deployment and owned(seen.deployment, seen.owner):
                self._apply(seen, plan)
        finally:
            self._write(dict(seen.owner), plan)

    def _observe_replicas(self, owner: dict[str, Any]) -> ObservedReplicas:
        namespace, name = owner["metadata"]["namespace"], owner["metadata"]["name"]
        caches = [startup_cache(cache) for cache in self._cluster.list(STARTUP_CACHE, namespace)]
        trust = self._cluster.get(CONFIG_MAP, namespace, TRUST) or {}
        pods = self._cluster.list(POD, namespace, f"{DEPLOYMENT_LABEL}={name}")
        self._metrics.count_inits(namespace, name, init_runs(pods))
        return ObservedReplicas(
            owner=owner,
            deployment=self._cluster.get(DEPLOYMENT, namespace, name),
            caches=caches,
            pods=pods,
            crashes=self._crashes(namespace, pods),
            quarantine=quarantine_in(trust),
            trust_version=str(trust.get("metadata", {}).get("resourceVersion", "")),
        )

    def _observe(self, replicas: ObservedReplicas, spec: InferenceDeploymentSpec, engine: Engine) -> ObservedServing:
        return ObservedServing(
            owner=replicas.owner,
            deployment=replicas.deployment,
            caches=replicas.caches,
            pods=replicas.pods,
            crashes=replicas.crashes,
            quarantine=replicas.quarantine,
            trust_version=replicas.trust_version,
            spec=spec,
            engine=engine,
            reports=[(pod_key(pod), report) for pod in replicas.pods if (report := init_report(pod))],
            nodes=self._nodes.labels(map(node, replicas.pods)),
            now=self._now(),
        )

    def _crashes(self, namespace: str, pods: list[dict[str, Any]]) -> list[Crash]:
        """Returns the crashes of all pods that share a key with a crashed pod, as evidence about the bundle."""
        keys = sorted({pod_key(pod) for pod in pods if crashes([pod])} - {""})
        return crashes(self._cluster.list(POD, namespace, f"{KEY_LABEL} in ({','.join(keys)})")) if keys else []

    def _apply(self, seen: ObservedReplicas, plan: ServingPlan) -> None:
        namespace = seen.owner["metadata"]["namespace"]
        self._namespace.write_trust(namespace, plan.protection.quarantine, seen.quarantine, seen.trust_version)
        for crash in plan.protection.replace:  # after the trust, so that new pods don't use the same bundle
            self._cluster.delete(POD, namespace, crash.pod, crash.uid)
        if plan.scale is not None:
            self._cluster.scale(DEPLOYMENT, namespace, seen.name, plan.scale)
        for cache, spec in plan.create_caches:
            self._namespace.create_cache(namespace, cache, spec)
        if plan.service:
            self._namespace.apply_where_it_differs(SERVICE, plan.service)
        if plan.apply_deployment and self._namespace.differs(DEPLOYMENT, plan.apply_deployment, seen.deployment):
            self._apply_deployment(plan.apply_deployment, dict(seen.deployment or {}))

    def _apply_deployment(self, desired: dict[str, Any], live: dict[str, Any]) -> None:
        check_owner(DEPLOYMENT, desired, live)
        if patch := strategy_patch(desired, live):
            self._cluster.merge(DEPLOYMENT, live["metadata"]["namespace"], live["metadata"]["name"], patch)
        self._namespace.settled.applied(DEPLOYMENT, desired, self._cluster.apply(DEPLOYMENT, desired))

    def _write(self, owner: dict[str, Any], plan: ServingPlan) -> None:
        before, after = read_status(InferenceDeploymentStatus, owner).cache_names, plan.status.cache_names
        for cache in plan.protection.outdated_caches:
            self._enqueue_cache(owner["metadata"]["namespace"], cache)
        self._status.write(owner, plan.status, plan.conditions)
        for name in {*before} ^ {*after}:
            self._enqueue_cache(owner["metadata"]["namespace"], name)

    def _write_failing(self, owner: dict[str, Any], error: ClusterError) -> None:
        """Shows the API server's answer to a write that is retried, and keeps the other conditions."""
        status = read_status(InferenceDeploymentStatus, owner)
        shown = [kept(found) for found in status.conditions if found.type != ConditionType.RECONCILING]
        known = shown or [Condition(ConditionType.READY, "False", error.reason, str(error), warning=True)]
        reconciling = Condition(ConditionType.RECONCILING, "True", error.reason, str(error), warning=True)
        self._status.write(owner, status, (*known, reconciling))


def _read(owner: dict[str, Any]) -> tuple[InferenceDeploymentSpec, Engine]:
    """Returns the spec and its engine.

    Raises:
        SpecError: the spec can't be read, or can't work.
    """
    try:
        spec = InferenceDeploymentSpec.model_validate(owner["spec"])
    except ValidationError as error:
        first = error.errors()[0]
        raise SpecError(f"spec.{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error
    engine = engine_of(spec.template, spec.engine)
    check_probes(engine)
    return spec, engine


def has_event(condition: Condition) -> bool:
    """Whether a transition gets an Event. The steps of tuning have Events on the StartupCache instead."""
    if condition.type == ConditionType.CACHE_READY:
        return (
            condition.status == "True"
            or condition.warning
            or condition.reason in {Reason.WAITING, Reason.TUNING, Reason.DISABLED}
        )
    if condition.type == ConditionType.RECONCILING:
        return condition.reason == ClusterError.reason
    if condition.type == ConditionType.STALLED:
        return condition.status == "True"
    return condition.type in {ConditionType.READY, ConditionType.DRIFTED, ConditionType.BUNDLE_MISSING}
