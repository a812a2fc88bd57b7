"""Starts the webhook: settings, watches, and the server, until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from tunecast_core.errors import TunecastError
from tunecast_operator.runtime.cluster import connect
from tunecast_operator.runtime.listening import Health, health, serve_metrics
from tunecast_operator.runtime.logs import log_at
from tunecast_operator.webhook.certificate import ServingCertificate
from tunecast_operator.webhook.known import Known
from tunecast_operator.webhook.metrics import WebhookMetrics
from tunecast_operator.webhook.server import serving
from tunecast_operator.webhook.settings import WebhookSettings, from_environment

POLL_SECONDS = 0.2
DRAIN_SECONDS = 3.0  # the API server may still call a pod that is terminating


async def run(settings: WebhookSettings, known: Known, certificate: ServingCertificate) -> None:
    """Serves until SIGTERM, and then until the endpoints of the Service no longer include this pod."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    metrics = WebhookMetrics()
    stop_metrics = serve_metrics(metrics.registry, settings.metrics_port)
    known.start()
    certificate.start()
    try:
        async with (
            health(settings.health_port) as state,
            serving(known.surroundings, metrics, settings.port, certificate.context) as admissions,
        ):
            looking = asyncio.create_task(_until_ready(state, known, certificate))
            await stopped.wait()
            looking.cancel()
            state.ready, admissions.draining = False, True
            await asyncio.sleep(DRAIN_SECONDS)
    finally:
        stop_metrics()


async def _until_ready(state: Health, known: Known, certificate: ServingCertificate) -> None:
    while not state.ready:
        await asyncio.sleep(POLL_SECONDS)
        state.ready = known.synced and certificate.loaded


def main() -> int:
    """Returns the process's exit code."""
    try:
        settings = from_environment(os.environ)
        log_at(settings.log_level)
        cluster = connect(8)
        certificate = ServingCertificate(cluster, settings.namespace, settings.secret)
        asyncio.run(run(settings, Known(cluster, settings), certificate))
    except TunecastError as error:
        sys.stderr.write(f"tunecast: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
