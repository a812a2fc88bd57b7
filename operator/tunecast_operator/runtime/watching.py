"""Waits for the CRDs before the operator starts to watch, and ends the operator if a watch ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from tunecast_core.errors import TunecastError
from tunecast_operator.runtime.cluster import INFERENCE_DEPLOYMENT, STARTUP_CACHE, Cluster, ClusterError

log = logging.getLogger(__name__)
OURS = (INFERENCE_DEPLOYMENT, STARTUP_CACHE)
POLL_SECONDS = 2.0
LOG_SECONDS = 60.0


class WatchEndedError(TunecastError):
    reason = "WatchEnded"


def missing_kinds(cluster: Cluster) -> list[str]:
    """Returns names of our CRDs that the API server doesn't serve.

    Raises:
        ClusterError: the API server didn't answer.
    """
    return [f"{kind.plural}.{kind.api.split('/')[1]}" for kind in OURS if not cluster.serves(kind)]


async def until_served(missing: Callable[[], list[str]]) -> None:
    """Waits until our CRDs are served, since kopf looks for them only once, when it starts."""
    polls = 0
    while True:
        try:
            names = await asyncio.to_thread(missing)
            why = f"the CustomResourceDefinitions {', '.join(names)} are missing: install them, or set crds.enabled"
        except ClusterError as error:
            names, why = ["unknown"], str(error)
        if not names:
            return
        if polls % int(LOG_SECONDS / POLL_SECONDS) == 0:
            log.warning("waiting: %s", why)
        polls += 1
        await asyncio.sleep(POLL_SECONDS)


async def guarded(operator: Coroutine[Any, Any, None]) -> None:
    """Runs kopf's ``operator``, which ends when one of its watches fails permanently.

    Raises:
        WatchEndedError: a watch failed, such as after a CRD or a permission was removed.
    """
    try:
        await operator
    except Exception as error:
        raise WatchEndedError(f"a watch ended: {error}. The operator ends, so that Kubernetes restarts it") from error
