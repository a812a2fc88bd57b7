"""Runs the real reconcilers against a real API server and a real S3 server, step by step and without kopf's watches.

The driver has its own clock, so that backoffs take no time. A kill is an exception after a write that took effect.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from kubernetes.client import ApiClient

from support.kubelet import Kubelet
from tunecast_core.bundle.hashing import Inspect, exhaust
from tunecast_core.records.manifest import Archive
from tunecast_core.store.bucket import Store
from tunecast_core.trust import signing
from tunecast_core.trust.settings import StoreSettings
from tunecast_operator import times
from tunecast_operator.plan.slots import SlotLimits
from tunecast_operator.reconcile.adoption import AdoptionReconciler
from tunecast_operator.reconcile.inference_deployment import InferenceDeploymentReconciler
from tunecast_operator.reconcile.owners import Owners
from tunecast_operator.reconcile.startup_cache import StartupCacheReconciler
from tunecast_operator.runtime.adopted_pods import AdoptedPods
from tunecast_operator.runtime.cluster import (
    INFERENCE_DEPLOYMENT,
    STARTUP_CACHE,
    Cluster,
    ConflictError,
    Kind,
    Object,
    connect,
)
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.metrics import Metrics
from tunecast_operator.runtime.publisher import Publisher
from tunecast_operator.runtime.startup_caches import StartupCaches
from tunecast_operator.runtime.tuning_slots import TuningSlots

DEADLINE_SECONDS = 60.0


class Killed(BaseException):
    """Ends the operator as SIGKILL does; no code of the operator catches it."""


class Writes:
    """Counts the operator's writes, and kills it after the nth write of one name."""

    def __init__(self, last: tuple[str, int] | None = None) -> None:
        self._last = last
        self.names: list[str] = []

    @property
    def numbered(self) -> list[tuple[str, int]]:
        """Returns every write so far with its number among the writes of the same name."""
        return [(name, self.names[: i + 1].count(name)) for i, name in enumerate(self.names)]

    def happened(self, name: str) -> None:
        self.names.append(name)
        if (name, self.names.count(name)) == self._last:
            raise Killed


class CountedCluster(Cluster):
    """The real cluster, which counts every write after it took effect."""

    writes: Writes

    def _call(self, method: str, kind: Kind, namespace: str, name: str = "", **more: Any) -> Object | None:
        found = super()._call(method, kind, namespace, name, **more)
        if method != "GET":
            self.writes.happened(f"{method} {kind.name}{'/' + more['subresource'] if more.get('subresource') else ''}")
        return found


class CountedStore(Store):
    """The real store, which counts every write after it took effect."""

    writes: Writes

    def publish(
        self, namespace: str, key: str, attempt_id: str, name: str, archive: Archive, inspect: Inspect = exhaust
    ) -> None:
        super().publish(namespace, key, attempt_id, name, archive, inspect)
        self.writes.happened("copy a blob")

    def put_manifest(self, namespace: str, key: str, hardware: str, signer: str, envelope: bytes) -> bool:
        done = super().put_manifest(namespace, key, hardware, signer, envelope)
        self.writes.happened("put the manifest")
        return done

    def delete_staged(self, namespace: str, key: str, attempt_id: str) -> None:
        super().delete_staged(namespace, key, attempt_id)
        self.writes.happened("delete what was staged")


class Driver:
    """Drives the operator and the simulated node of one namespace."""

    def __init__(self, kubeconfig: str, settings: StoreSettings, namespace: str, private: bytes | None = None) -> None:
        api = connect(1, kubeconfig)._api
        self.plain = connect(1, kubeconfig)
        self.cluster, self.store = self.edges(api, settings)
        self.installation = Installation(settings, "tunecast-system", "init:1")
        self.namespace, self.now = namespace, times.utc_now()
        self.kubelet = Kubelet(self.plain, namespace)
        self.private = private or signing.generate()
        self.also_trusted: dict[str, str] = {}  # signer -> public key
        self.limits = SlotLimits()  # of concurrent tunings; they count from the next restart on
        self.skew = timedelta()  # error of the operator's clock
        self.restart(Writes())

    def edges(self, api: ApiClient, settings: StoreSettings) -> tuple[CountedCluster, CountedStore]:
        """Returns the edges of the operator; the driver itself reads through other clients."""
        return CountedCluster(api), CountedStore(settings, seconds=5)

    def restart(self, writes: Writes) -> None:
        """Replaces the operator by a new one, as a restarted process with empty memory."""
        self.touched: set[str] = set()  # keys of adopted pods that changed
        self.writes = self.cluster.writes = self.store.writes = writes
        signer, self.metrics = signing.Signer(self.private), Metrics(times.utc_now())
        publisher = Publisher(self.store, signer, {signer.signer: signer.public_key, **self.also_trusted})
        self.adopted = AdoptedPods(self.cluster, [self.namespace], {}, lambda _namespace, key: self.touched.add(key))
        self._adoption = AdoptionReconciler(
            self.cluster, self.installation, publisher, self.adopted, Owners(self.cluster), self._time,
            lambda _namespace, _name: None, self.metrics,
        )  # fmt: skip
        self._known = StartupCaches(self.cluster, [self.namespace])
        slots = TuningSlots(self._known, self.limits, self._time, lambda _namespace, _name: None)
        self._caches = StartupCacheReconciler(
            self.cluster, publisher, self.installation, self._time, self.metrics, slots, self._adoption.using_key
        )
        self._deployments = InferenceDeploymentReconciler(
            self.cluster, self.installation, publisher, self._time, lambda _namespace, _name: None, self.metrics
        )

    def _time(self) -> datetime:
        return self.now + self.skew

    def step(self) -> None:
        """Reconciles every object once, then advances the node and the clock by twenty seconds."""
        self._watch()
        for key in sorted(self.touched | {key for _, key in self.adopted.places()}):
            self.look_at(self._adoption.reconcile, key)
        for kind, reconcile in (
            (INFERENCE_DEPLOYMENT, self._deployments.reconcile),
            (STARTUP_CACHE, self._caches.reconcile),
        ):
            for found in self.plain.list(kind, self.namespace):
                self.look_at(reconcile, found["metadata"]["name"])
        self._node()
        self.now += timedelta(seconds=20)

    def look_at(self, reconcile: Callable[[str, str], float | None], name: str) -> None:
        """Reconciles one object; after a conflict the next step tries again."""
        try:
            reconcile(self.namespace, name)
        except ConflictError:
            return

    def _watch(self) -> None:
        """Lists what the operator watches by itself."""
        self.adopted.refresh(self.namespace)
        self._known.refresh()

    def _node(self) -> None:
        try:
            self.kubelet.step()
        except ConflictError:
            return

    def until(self, seen: Callable[[], Any], what: str) -> Any:
        """Steps until ``seen`` returns a truthy value, and returns it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (found := seen()):
            assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_SECONDS:.0f} s"
            self.step()
        return found

    def caches(self, state: str = "") -> list[Object]:
        found = self.plain.list(STARTUP_CACHE, self.namespace)
        return [cache for cache in found if not state or (cache.get("status") or {}).get("state") == state]

    def deployment_status(self, name: str = "qwen3") -> Object:
        return (self.plain.get(INFERENCE_DEPLOYMENT, self.namespace, name) or {}).get("status") or {}
