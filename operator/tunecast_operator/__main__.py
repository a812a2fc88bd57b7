"""Starts the operator: settings, the edges, the queue, its workers, and kopf's watching."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from typing import Any, cast

import kopf

from tunecast_cache.errors import TunecastError
from tunecast_cache.store import Store
from tunecast_operator import handlers, times
from tunecast_operator.cluster import CONFIG_MAP, INFERENCE_DEPLOYMENT, KERNEL_CACHE, Cluster, connect
from tunecast_operator.controller import Controller
from tunecast_operator.events import COMPONENT
from tunecast_operator.installation import Installation, from_environment
from tunecast_operator.listening import liveness
from tunecast_operator.metrics import Metrics, serve
from tunecast_operator.publisher import Publisher
from tunecast_operator.reconcile.inference_deployment import InferenceDeploymentReconciler
from tunecast_operator.reconcile.kernel_cache import KernelCacheReconciler
from tunecast_operator.reconcile.trust import TrustReconciler
from tunecast_operator.signing_key import load_keys
from tunecast_operator.store_check import check_until_passed
from tunecast_operator.workqueue import Item, WorkQueue

STORE_SECONDS = 15.0  # of one operation with all its retries: a worker waits no longer
READ_SECONDS = 60.0  # of one answer: a copy of gigabytes within S3 takes a while
LIVENESS_PORT = 8080


def build(installation: Installation, cluster: Cluster, store: Store, queue: WorkQueue, metrics: Metrics) -> Controller:
    """Wires reconcilers to their edges."""
    keys = load_keys(cluster, installation.namespace, installation.signing_secret)
    publisher = Publisher(store, keys.signer, keys.trusted, keys.former)
    caches = KernelCacheReconciler(cluster, publisher, installation, times.utc_now, metrics)

    def mark_cache(namespace: str, name: str) -> None:
        queue.add(Item(KERNEL_CACHE.name, namespace, name))

    def enqueue_deployment(namespace: str, name: str) -> None:
        queue.add(Item(INFERENCE_DEPLOYMENT.name, namespace, name))

    deployments = InferenceDeploymentReconciler(cluster, installation, publisher, times.utc_now, mark_cache, metrics)
    reconcilers = {
        INFERENCE_DEPLOYMENT.name: deployments.reconcile,
        KERNEL_CACHE.name: caches.reconcile,
        CONFIG_MAP.name: TrustReconciler(cluster, enqueue_deployment).reconcile,
    }
    return Controller(queue, reconcilers, installation.workers, metrics)


def run(installation: Installation, cluster: Cluster, store: Store, port: int = LIVENESS_PORT) -> None:
    """Watches and reconciles until SIGTERM; ``port`` is where liveness is told."""
    queue, metrics = WorkQueue(), Metrics(times.utc_now())
    controller = build(installation, cluster, store, queue, metrics)
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    handlers.configure(settings)
    handlers.register(registry, queue.add)
    stop_serving = serve(metrics, installation.metrics_port)
    controller.start()
    stopped = threading.Event()
    threading.Thread(
        target=check_until_passed, args=(store.check, metrics.store_failed, stopped), name="store-check", daemon=True
    ).start()
    try:
        asyncio.run(_watch(registry, settings, installation.watch_namespaces, port))
    finally:
        stopped.set()
        controller.stop()
        stop_serving()


async def _watch(
    registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings, namespaces: tuple[str, ...], port: int
) -> None:
    async with liveness(port):
        await kopf.operator(
            registry=registry,
            settings=settings,
            standalone=True,
            identity=cast("Any", COMPONENT),  # else kopf looks up its user, who may have no name
            clusterwide=not namespaces,
            namespaces=namespaces,
        )


def log_at(level: str) -> None:
    """Botocore's own would show signatures, and so what it takes to stage an object."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    for chatty in ("kopf.activities", "kopf.objects", "aiohttp.access", "botocore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def main() -> int:
    """Returns the process's exit code."""
    try:
        installation = from_environment(os.environ)
        log_at(installation.log_level)
        run(
            installation,
            connect(installation.workers),
            Store(installation.store, seconds=STORE_SECONDS, read_seconds=READ_SECONDS),
        )
    except TunecastError as error:
        sys.stderr.write(f"tunecast: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
