"""What the operator serves, on IPv4 and IPv6 alike: the kubelet and Prometheus come by the pod's own address."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


def any_address() -> str:
    """The address at which one socket accepts connections of every family that this host has."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - it is meant to


class Health:
    """What the kubelet's probes are told."""

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
    """Serves ``/healthz`` and ``/readyz``. The endpoint of kopf itself has but one address."""
    app, told = web.Application(), Health()
    app.router.add_get("/healthz", told.alive)
    app.router.add_get("/readyz", told.readiness)
    runner = web.AppRunner(app, handle_signals=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host=None, port=port).start()  # a socket for each family
    try:
        yield told
    finally:
        await runner.cleanup()
