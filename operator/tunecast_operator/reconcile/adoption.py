"""Reconciles the adopted pods of a namespace and key: observe, decide, apply. Their StartupCaches show the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from tunecast_core.errors import TunecastError
from tunecast_core.key import KEY_VERSION
from tunecast_core.trust.settings import CONFIG_MAP as TRUST
from tunecast_operator.adoption.adopted import Adopted
from tunecast_operator.api.startup_cache import StartupCache, startup_cache
from tunecast_operator.conditions import Condition, Reason, Transition
from tunecast_operator.identity import KEY_LABEL
from tunecast_operator.plan.adoption import ObservedAdoption, decide
from tunecast_operator.plan.crashes import crashes
from tunecast_operator.plan.workloads import UsingPod, usage
from tunecast_operator.pods import init_runs, node
from tunecast_operator.reconcile.crash_memory import CrashMemory
from tunecast_operator.reconcile.nodes import Nodes
from tunecast_operator.reconcile.owners import Owners
from tunecast_operator.reconcile.serving_namespace import ServingNamespace
from tunecast_operator.resources.quarantine import quarantine_in
from tunecast_operator.runtime.adopted_pods import ADOPTED_PODS, NO_KEY, AdoptedPod, AdoptedPods
from tunecast_operator.runtime.cluster import CONFIG_MAP, EVENT, POD, STARTUP_CACHE, Cluster, ConflictError
from tunecast_operator.runtime.controller import GONE
from tunecast_operator.runtime.events import event
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.metrics import Metrics
from tunecast_operator.runtime.publisher import Publisher

log = logging.getLogger(__name__)
REPORTED = 10_000  # Events that are remembered


class AdoptionReconciler:
    """``enqueue_cache`` is called with a StartupCache whose status has to change with the pods that use it."""

    def __init__(
        self,
        cluster: Cluster,
        installation: Installation,
        publisher: Publisher,
        pods: AdoptedPods,
        owners: Owners,
        now: Callable[[], datetime],
        enqueue_cache: Callable[[str, str], None],
        metrics: Metrics,
    ) -> None:
        self._cluster, self._pods, self._owners, self._now = cluster, pods, owners, now
        self._enqueue_cache, self._metrics = enqueue_cache, metrics
        self._nodes = Nodes(cluster, installation.read_nodes)
        self._namespace = ServingNamespace(cluster, installation, publisher)
        self._crashes = CrashMemory(now)
        self._reported: set[tuple[str, str]] = set()  # uid and reason of the Events that were created

    def reconcile(self, namespace: str, key: str) -> float | None:
        """Returns after how many seconds to requeue without an event.

        Raises:
            ConflictError: pods and settings have not all been listed yet.
        """
        self._until_synced()
        pods = self._pods.of_key(namespace, key)
        self._count(namespace, key, pods)
        if key == NO_KEY:
            for one in pods:
                self._report(one, *one.problem)
            return None if pods else GONE
        caches = [startup_cache(found) for found in self._cluster.list(STARTUP_CACHE, namespace)]
        same_key = [cache for cache in caches if cache.key == key]
        self._enqueue_outdated(namespace, pods, same_key)
        if not pods:
            return GONE
        found = self._described(pods, key)
        self._carry_out(namespace, key, found, pods, caches)
        for one in pods:
            if not one.injected:
                self._report(one, Reason.NOT_INJECTED, _WAS_AWAY)
            elif found and not found.tunes and not same_key:
                self._report(one, Reason.DISABLED, _TUNING_OFF)
        return None

    def _until_synced(self) -> None:
        if not self._pods.synced:
            raise ConflictError("adopted pods and their settings have not all been listed yet")

    def _count(self, namespace: str, key: str, pods: list[AdoptedPod]) -> None:
        """Counts reports of init containers. A slash keeps the name apart from those of objects."""
        name = f"key/{key}"
        if pods:
            self._metrics.count_inits(namespace, name, init_runs([one.pod for one in pods]))
        else:
            self._metrics.forget((ADOPTED_PODS, namespace, name))

    def _described(self, pods: list[AdoptedPod], key: str) -> Adopted | None:
        """Describes the first pod whose key is the one that it names."""
        for one in pods:
            try:
                found = self._pods.describe(one.pod)
            except TunecastError as error:
                self._report(one, error.reason, str(error))
                continue
            if found.key == key:
                return found
            self._report(one, Reason.KEY_DIFFERS, _DIFFERS)
        return None

    def _carry_out(
        self,
        namespace: str,
        key: str,
        found: Adopted | None,
        pods: list[AdoptedPod],
        caches: list[StartupCache],
    ) -> None:
        """Protects the pods of the key. Pods whose settings have changed since can't be tuned for any more."""
        trust = self._cluster.get(CONFIG_MAP, namespace, TRUST) or {}
        serving = [one.pod for one in pods if one.injected]
        crashed = crashes(serving)
        if crashed:  # pods of InferenceDeployments with this key are evidence too
            crashed = crashes(self._cluster.list(POD, namespace, f"{KEY_LABEL}={key}"))
        crashed = self._crashes.with_gone(namespace, key, serving, crashed)
        seen = ObservedAdoption(
            found, serving, caches, crashed, quarantine_in(trust), self._nodes.labels(map(node, serving))
        )
        plan = decide(seen, KEY_VERSION)
        version = str(trust.get("metadata", {}).get("resourceVersion", ""))
        self._namespace.write_trust(namespace, plan.protection.quarantine, seen.quarantine, version)
        for name, spec in plan.create_caches:
            self._namespace.create_cache(namespace, name, spec)
        for crash in plan.protection.replace:  # after the trust, so that new pods don't use the same bundle
            self._cluster.delete(POD, namespace, crash.pod, crash.uid)
        for name in plan.protection.outdated_caches:
            self._enqueue_cache(namespace, name)

    def _enqueue_outdated(self, namespace: str, pods: list[AdoptedPod], caches: list[StartupCache]) -> None:
        now = usage(self.using(one) for one in pods)
        for cache in caches:
            if (cache.status.used_by or []) != now:
                self._enqueue_cache(namespace, cache.name)

    def using_key(self, namespace: str, key: str) -> list[UsingPod]:
        """The adopted pods of a key, with their topmost owners.

        Raises:
            ConflictError: they have not all been listed yet.
        """
        self._until_synced()
        return [self.using(one) for one in self._pods.of_key(namespace, key)]

    def using(self, one: AdoptedPod) -> UsingPod:
        """The pod with its topmost owner."""
        return UsingPod(one.pod, self._owners.top(one.pod), one.injected)

    def _report(self, one: AdoptedPod, reason: str, message: str) -> None:
        """Creates one Event about a pod that runs without what it asked for."""
        known = (str(one.pod["metadata"]["uid"]), reason)
        if known in self._reported:
            return
        pod = {"apiVersion": "v1", "kind": "Pod", **one.pod}
        about = Condition("Injected", "False", reason, message, warning=True)
        self._cluster.create(EVENT, event(pod, Transition(about, ""), self._now()))
        if len(self._reported) >= REPORTED:
            self._reported.clear()  # the API server refuses a second Event of the same name
        self._reported.add(known)


_WAS_AWAY = (
    "the pod has the label tunecast.io/inject, and was created without Tunecast's init container, so it starts cold."
    " The webhook was away, or the label was added later. A pod in its place starts warm"
)
_TUNING_OFF = (
    "the pod starts cold: no StartupCache has its key, and its settings turn tuning off (tuning-policy: Never). Set"
    " ServeWhileTuning, or tune ahead with an InferenceDeployment of the same pod and replicas: 0"
)
_DIFFERS = (
    "nothing is tuned for this pod, since its key is another one now than when Tunecast's webhook saw it. Either its"
    " settings in ConfigMap tunecast-defaults or in the chart have changed since: then pods in its place have the new"
    " key. Or another webhook or controller changed the pod afterwards: let it change nothing of what the engine reads"
)
