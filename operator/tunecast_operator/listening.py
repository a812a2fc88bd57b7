"""What the operator serves, on IPv4 and IPv6 alike: the kubelet and Prometheus come by the pod's own address."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


def any_address() -> str:
    """The address at which one socket accepts connections of every family that this host has."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - it is meant to


@asynccontextmanager
async def liveness(port: int) -> AsyncIterator[None]:
    """Answers 200 at ``/healthz`` while the event loop runs. The endpoint of kopf itself has but one address."""
    app = web.Application()
    app.router.add_get("/healthz", _alive)
    runner = web.AppRunner(app, handle_signals=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host=None, port=port).start()  # a socket for each family
    try:
        yield
    finally:
        await runner.cleanup()


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")
