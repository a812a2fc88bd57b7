"""Wires the two controllers: one for InferenceDeployments, one for StartupCaches, which wait for the store."""

from __future__ import annotations

import time
from collections.abc import Callable

from tunecast_core.store.bucket import Store
from tunecast_operator import times
from tunecast_operator.reconcile.adoption import AdoptionReconciler
from tunecast_operator.reconcile.inference_deployment import InferenceDeploymentReconciler
from tunecast_operator.reconcile.owners import Owners
from tunecast_operator.reconcile.startup_cache import StartupCacheReconciler
from tunecast_operator.reconcile.trust import TrustReconciler
from tunecast_operator.reconcile.webhook import WebhookReconciler
from tunecast_operator.runtime.adopted_gauge import AdoptedGauge
from tunecast_operator.runtime.adopted_pods import ADOPTED_PODS, AdoptedPods
from tunecast_operator.runtime.cluster import (
    CONFIG_MAP,
    INFERENCE_DEPLOYMENT,
    MUTATING_WEBHOOK_CONFIGURATION,
    STARTUP_CACHE,
    Cluster,
    Kind,
)
from tunecast_operator.runtime.controller import Controller
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.metrics import Metrics
from tunecast_operator.runtime.publisher import Publisher
from tunecast_operator.runtime.signing_key import load_keys
from tunecast_operator.runtime.startup_caches import StartupCaches
from tunecast_operator.runtime.tuning_slots import TuningSlots
from tunecast_operator.runtime.workqueue import Item, WorkQueue

KUBE_SYSTEM = "kube-system"  # as in the chart's MutatingWebhookConfiguration


class Controllers:
    """Each controller has its own queue and workers, so that a slow store never delays scaling."""

    def __init__(self, installation: Installation, cluster: Cluster, store: Store, metrics: Metrics) -> None:
        keys = load_keys(cluster, installation.namespace, installation.signing_secret)
        publisher = Publisher(store, keys.signer, keys.trusted, keys.former)
        self._adopted = AdoptedPods(
            cluster,
            installation.watch_namespaces,
            installation.adoption_defaults,
            self._enqueue_adopted,
            excluded=(KUBE_SYSTEM, installation.namespace),
        )
        adoption = AdoptionReconciler(
            cluster, installation, publisher, self._adopted, Owners(cluster), times.utc_now,
            self._enqueue(STARTUP_CACHE), metrics,
        )  # fmt: skip
        self._caches = StartupCaches(cluster, installation.watch_namespaces)
        slots = TuningSlots(self._caches, installation.tuning_limits, times.utc_now, self._enqueue(STARTUP_CACHE))
        caches = StartupCacheReconciler(
            cluster, publisher, installation, times.utc_now, metrics, slots, adoption.using_key
        )
        deployments = InferenceDeploymentReconciler(
            cluster, installation, publisher, times.utc_now, self._enqueue(STARTUP_CACHE), metrics
        )
        trust = TrustReconciler(cluster, self._enqueue(INFERENCE_DEPLOYMENT), self._enqueue_adopted_in)
        webhook = WebhookReconciler(cluster, installation, times.utc_now, metrics)
        scaling = {
            INFERENCE_DEPLOYMENT.name: deployments.reconcile,
            CONFIG_MAP.name: trust.reconcile,
            ADOPTED_PODS: adoption.reconcile,
            MUTATING_WEBHOOK_CONFIGURATION.name: webhook.reconcile,
        }
        tuning = {STARTUP_CACHE.name: caches.reconcile}
        self._all = [Controller(WorkQueue(), kinds, installation.workers, metrics) for kinds in (scaling, tuning)]
        if installation.manages_webhook:
            self._enqueue(MUTATING_WEBHOOK_CONFIGURATION)("", installation.webhook_configuration)
        metrics.registry.register(AdoptedGauge(lambda: self._adopted.counts(self._caches.has_key)))
        metrics.watch_queue(lambda: sum(controller.queue.backlog for controller in self._all))

    def add(self, item: Item) -> None:
        """Enqueues ``item`` for the workers of its kind."""
        next(controller for controller in self._all if item.kind in controller.kinds).queue.add(item)

    def _enqueue_adopted(self, namespace: str, key: str) -> None:
        self.add(Item(ADOPTED_PODS, namespace, key))

    def _enqueue_adopted_in(self, namespace: str) -> None:
        for found, key in self._adopted.places():
            if found == namespace:
                self._enqueue_adopted(namespace, key)

    def _enqueue(self, kind: Kind) -> Callable[[str, str], None]:
        return lambda namespace, name: self.add(Item(kind.name, namespace, name))

    def start(self) -> None:
        """Starts to watch adopted pods and StartupCaches, and the workers."""
        self._adopted.start()
        self._caches.start()
        for controller in self._all:
            controller.start()

    def stop(self, seconds: float = 20.0) -> None:
        """Closes the queues, and waits for reconciliations that are under way."""
        until = time.monotonic() + seconds
        for controller in self._all:
            controller.queue.close()
        for controller in self._all:
            controller.join(until)
