"""Keeps the operator from being blind: it begins once its kinds are served, and ends where a watch has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from tunecast_core.errors import TunecastError
from tunecast_operator.runtime.cluster import INFERENCE_DEPLOYMENT, STARTUP_CACHE, Cluster, ClusterError

log = logging.getLogger(__name__)
OURS = (INFERENCE_DEPLOYMENT, STARTUP_CACHE)
LOOK_SECONDS = 2.0
SAY_SECONDS = 60.0


class WatchEndedError(TunecastError):
    reason = "WatchEnded"


def missing_kinds(cluster: Cluster) -> list[str]:
    """Names of our CRDs that the API server doesn't serve.

    Raises:
        ClusterError: it didn't answer.
    """
    return [f"{kind.plural}.{kind.api.split('/')[1]}" for kind in OURS if not cluster.serves(kind)]


async def until_served(missing: Callable[[], list[str]]) -> None:
    """Waits until our CRDs are there: kopf looks for them only once, as it starts."""
    looks = 0
    while True:
        try:
            names = await asyncio.to_thread(missing)
            why = f"the CustomResourceDefinitions {', '.join(names)} are missing: install them, or set crds.enabled"
        except ClusterError as error:
            names, why = ["unknown"], str(error)
        if not names:
            return
        if looks % int(SAY_SECONDS / LOOK_SECONDS) == 0:
            log.warning("waiting: %s", why)
        looks += 1
        await asyncio.sleep(LOOK_SECONDS)


async def guarded(operator: Coroutine[Any, Any, None]) -> None:
    """Runs ``operator``, kopf's, which ends where one of its watches fails for good.

    Raises:
        WatchEndedError: it did, such as after a CRD or a right was taken away; a restarted operator begins anew.
    """
    try:
        await operator
    except Exception as error:
        raise WatchEndedError(f"a watch ended: {error}. The operator ends, so that Kubernetes restarts it") from error
