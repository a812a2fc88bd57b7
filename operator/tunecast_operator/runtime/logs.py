"""Logging of the operator and of the webhook."""

from __future__ import annotations

import logging


def log_at(level: str) -> None:
    """Configures logging. Botocore's debug log is off, since it shows signatures that would let others upload."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    for chatty in ("kopf.activities", "kopf.objects", "aiohttp.access", "botocore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
