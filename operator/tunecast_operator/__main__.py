"""Starts the operator: settings, the edges, the controllers, and kopf's watching."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Any, cast

import kopf

from tunecast_core.errors import TunecastError
from tunecast_core.store.breaker import Breaker
from tunecast_core.store.bucket import Store
from tunecast_operator import times
from tunecast_operator.runtime import handlers, watching
from tunecast_operator.runtime.cluster import Cluster, connect
from tunecast_operator.runtime.controllers import Controllers
from tunecast_operator.runtime.events import COMPONENT
from tunecast_operator.runtime.installation import Installation, from_environment
from tunecast_operator.runtime.listening import health, serve_metrics
from tunecast_operator.runtime.logs import log_at
from tunecast_operator.runtime.metrics import Metrics
from tunecast_operator.runtime.store_check import check_until_passed

STORE_SECONDS = 15.0  # limit of one store operation with all its retries, apart from transfers of archives
LIVENESS_PORT = 8080


def run(installation: Installation, cluster: Cluster, bucket: Store, port: int = LIVENESS_PORT) -> None:
    """Watches and reconciles until SIGTERM. Liveness and readiness are served on ``port``."""
    metrics = Metrics(times.utc_now())
    controllers = Controllers(installation, cluster, bucket, metrics)
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    handlers.configure(settings)
    handlers.register(registry, controllers.add)
    stop_serving = serve_metrics(metrics.registry, installation.metrics_port)
    controllers.start()
    stopped = threading.Event()
    threading.Thread(
        target=check_until_passed, args=(bucket.check, metrics.store_failed, stopped), name="store-check", daemon=True
    ).start()
    try:
        asyncio.run(_watch(registry, settings, cluster, installation.watch_namespaces, port))
    finally:
        stopped.set()
        controllers.stop()
        stop_serving()


async def _watch(
    registry: kopf.OperatorRegistry,
    settings: kopf.OperatorSettings,
    cluster: Cluster,
    namespaces: tuple[str, ...],
    port: int,
) -> None:
    async with health(port) as probes:
        await watching.until_served(lambda: watching.missing_kinds(cluster))
        probes.ready = True
        operator = kopf.operator(
            registry=registry,
            settings=settings,
            standalone=True,
            identity=cast("Any", COMPONENT),  # otherwise kopf looks up the user's name, which may not exist
            clusterwide=not namespaces,
            namespaces=namespaces,
        )
        await watching.guarded(operator)


def store(installation: Installation) -> Store:
    """Returns the store of the installation. It has deadlines and a circuit breaker, so that no worker blocks."""
    return Store(installation.store, seconds=STORE_SECONDS, breaker=Breaker())


def main() -> int:
    """Returns the process's exit code."""
    try:
        installation = from_environment(os.environ)
        log_at(installation.log_level)
        run(installation, connect(2 * installation.workers), store(installation))
    except TunecastError as error:
        sys.stderr.write(f"tunecast: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
