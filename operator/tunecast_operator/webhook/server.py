"""The HTTPS server that the API server calls.

It uses aiohttp directly. kopf's webhook server would also manage the MutatingWebhookConfiguration, and needs an
operator that watches resources.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tunecast_operator.webhook.inject import Surroundings
from tunecast_operator.webhook.metrics import WebhookMetrics
from tunecast_operator.webhook.review import ReviewError, answer

log = logging.getLogger(__name__)
PATH = "/mutate"
REVIEW_BYTES = 8 * 2**20  # the API server accepts no objects of more than 3 MiB


@asynccontextmanager
async def serving(
    around: Surroundings, metrics: WebhookMetrics, port: int, context: ssl.SSLContext | None
) -> AsyncIterator[None]:
    """Answers AdmissionReviews at ``/mutate`` on ``port`` of every address."""

    async def mutate(request: web.Request) -> web.Response:
        begun = time.perf_counter()
        try:
            found = answer(json.loads(await request.read()), around)
        except (ReviewError, ValueError, RecursionError, AttributeError) as error:
            return web.Response(status=400, text=f"{error}\n")
        metrics.answered(found.result, time.perf_counter() - begun)
        return web.json_response(found.review)

    app = web.Application(client_max_size=REVIEW_BYTES)
    app.router.add_post(PATH, mutate)
    runner = web.AppRunner(app, handle_signals=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host=None, port=port, ssl_context=context, backlog=1024).start()
    try:
        yield
    finally:
        await runner.cleanup()
