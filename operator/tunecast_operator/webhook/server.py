"""The HTTPS server that the API server calls.

It uses aiohttp directly. kopf's webhook server would also manage the MutatingWebhookConfiguration, and needs an
operator that watches resources.
"""

from __future__ import annotations

import logging
import ssl
import time
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tunecast_operator.webhook.inject import Surroundings
from tunecast_operator.webhook.metrics import WebhookMetrics
from tunecast_operator.webhook.review import ReviewError, answer, read_review

log = logging.getLogger(__name__)
PATH = "/mutate"
REVIEW_BYTES = 8 * 2**20  # the API server accepts no objects of more than 3 MiB


# Each connection has a buffer of this size. asyncio's 256 KiB are 50 MiB for the 200 connections of a storm.
TLS_BUFFER_BYTES = 2**14
SHUTDOWN_SECONDS = 2.0  # that a request which has begun may take to end


class Admissions:
    """Answers AdmissionReviews. While ``draining``, each answer ends its connection, so that clients call others."""

    def __init__(self, around: Surroundings, metrics: WebhookMetrics) -> None:
        self.draining = False
        self._around, self._metrics = around, metrics

    async def mutate(self, request: web.Request) -> web.Response:
        """Answers one request."""
        body = await request.read()
        response = self._answered(body)
        if self.draining:
            response.force_close()  # sends "Connection: close"
        return response

    def _answered(self, body: bytes) -> web.Response:
        begun = time.perf_counter()
        try:
            found = answer(read_review(body), self._around)
        except ReviewError as error:
            return web.Response(status=400, text=f"{error}\n")
        self._metrics.answered(found.result, time.perf_counter() - begun)
        return web.json_response(found.review)


@asynccontextmanager
async def serving(
    around: Surroundings, metrics: WebhookMetrics, port: int, context: ssl.SSLContext | None
) -> AsyncIterator[Admissions]:
    """Answers AdmissionReviews at ``/mutate`` on ``port`` of every address.

    Idle connections are closed at the end, not while the API server may be about to send a request on them.
    """
    app, admissions = web.Application(client_max_size=REVIEW_BYTES), Admissions(around, metrics)
    app.router.add_post(PATH, admissions.mutate)
    SSLProtocol.max_size = TLS_BUFFER_BYTES  # it has no other setting
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    await web.TCPSite(runner, host=None, port=port, ssl_context=context, backlog=1024).start()
    try:
        yield admissions
    finally:
        await runner.cleanup()
