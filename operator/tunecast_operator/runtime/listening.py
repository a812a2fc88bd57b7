"""Serves health checks on IPv4 and IPv6, since the kubelet connects to the address of the pod."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, start_http_server


def any_address() -> str:
    """Returns the address at which one socket accepts connections of every address family of this host."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - it has to be reachable from outside


class Health:
    """Answers to the kubelet's probes."""

    def __init__(self) -> None:
        self.ready = False

    async def alive(self, _request: web.Request) -> web.Response:
        """Answers 200 while the event loop runs."""
        return web.Response(text="ok\n")

    async def readiness(self, _request: web.Request) -> web.Response:
        """Answers 200 once the operator watches, else 503."""
        return web.Response(text="ok\n") if self.ready else web.Response(text="waiting\n", status=503)


@asynccontextmanager
async def health(port: int) -> AsyncIterator[Health]:
    """Serves ``/healthz`` and ``/readyz``. kopf's own endpoint listens on only one address."""
    app, probes = web.Application(), Health()
    app.router.add_get("/healthz", probes.alive)
    app.router.add_get("/readyz", probes.readiness)
    runner = web.AppRunner(app, handle_signals=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host=None, port=port).start()  # a socket for each family
    try:
        yield probes
    finally:
        await runner.cleanup()


def serve_metrics(registry: CollectorRegistry, port: int) -> Callable[[], None]:
    """Serves ``/metrics`` until the function that is returned is called."""
    server, thread = start_http_server(port, any_address(), registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
