"""What kopf is for here: it watches, and every event only marks objects in the queue.

``on.event`` handlers alone, so that kopf puts no finalizer, no annotation and no progress on anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import kopf

from tunecast_core.trust.settings import CONFIG_MAP as TRUST
from tunecast_operator.api.groups import GROUP, VERSION
from tunecast_operator.api.status import InferenceDeploymentStatus, StartupCacheStatus, read_status
from tunecast_operator.identity import CACHE_LABEL, DEPLOYMENT_LABEL, KEY_LABEL, MANAGED_BY
from tunecast_operator.runtime.cluster import CONFIG_MAP, INFERENCE_DEPLOYMENT, STARTUP_CACHE
from tunecast_operator.runtime.workqueue import Item

Mark = Callable[[Item], None]
_OURS = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
# Pods keep the labels of their users, who may say that another tool manages them.
SELECTORS = {"deployments": _OURS, "jobs": _OURS, "configmaps": _OURS, "pods": KEY_LABEL}


def register(registry: kopf.OperatorRegistry, mark: Mark) -> None:
    """Marks an object when it changes, when one of its children does, or when what it refers to does.

    ``mark`` is called in the event loop, so it must not block.
    """

    async def on_event(body: kopf.Body, **_: Any) -> None:  # a coroutine: kopf runs plain functions in threads
        for item in concerned(dict(body)):
            mark(item)

    for plural in ("inferencedeployments", "startupcaches"):
        kopf.on.event(GROUP, VERSION, plural, registry=registry)(on_event)
    kopf.on.event("apps", "v1", "deployments", registry=registry)(on_event)
    kopf.on.event("batch", "v1", "jobs", registry=registry)(on_event)
    kopf.on.event("v1", "pods", registry=registry)(on_event)
    kopf.on.event("v1", "configmaps", registry=registry)(on_event)
    kopf.on.login(registry=registry)(log_in)


def log_in(**arguments: Any) -> kopf.ConnectionInfo | None:
    """By the service account inside a cluster, else by the kubeconfig; asked again when a token has expired."""
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


def concerned(body: dict[str, Any]) -> Iterator[Item]:
    """The objects to look at after this one changed."""
    metadata = body["metadata"]
    namespace, labels = metadata["namespace"], metadata.get("labels") or {}
    if body.get("kind") == INFERENCE_DEPLOYMENT.name:
        yield Item(INFERENCE_DEPLOYMENT.name, namespace, metadata["name"])
        for cache in read_status(InferenceDeploymentStatus, body).cache_names:
            yield Item(STARTUP_CACHE.name, namespace, cache)
    elif body.get("kind") == STARTUP_CACHE.name:
        yield Item(STARTUP_CACHE.name, namespace, metadata["name"])
        for name in read_status(StartupCacheStatus, body).referred_by:
            yield Item(INFERENCE_DEPLOYMENT.name, namespace, name)
    elif body.get("kind") == CONFIG_MAP.name and metadata["name"] == TRUST:
        yield Item(CONFIG_MAP.name, namespace, TRUST)
    elif DEPLOYMENT_LABEL in labels:
        yield Item(INFERENCE_DEPLOYMENT.name, namespace, labels[DEPLOYMENT_LABEL])
    elif CACHE_LABEL in labels:
        yield Item(STARTUP_CACHE.name, namespace, labels[CACHE_LABEL])


def configure(settings: kopf.OperatorSettings) -> None:
    """Watches only what carries our label, posts nothing by itself, and looks for no new kinds."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.persistence.finalizer = f"{GROUP}/never"  # a handler that asks for one would be a bug; this names it
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.server_timeout = 300
    # Each object has a worker in kopf, which lingers after its last event: a limit on them, or long lingering, would
    # let only a few objects a second through. Handlers only enqueue, so workers cost next to nothing.
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 0.2
    settings.watching.label_selectors.update(SELECTORS)
