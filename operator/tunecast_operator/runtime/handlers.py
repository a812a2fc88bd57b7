"""Watches with kopf. Every event only enqueues objects.

There are only ``on.event`` handlers, with which kopf adds no finalizers, annotations or progress to objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import kopf

from tunecast_core.trust.settings import CONFIG_MAP as TRUST
from tunecast_operator.api.groups import GROUP, VERSION
from tunecast_operator.api.status import InferenceDeploymentStatus, StartupCacheStatus, read_status
from tunecast_operator.identity import CACHE_LABEL, DEPLOYMENT_LABEL, KEY_LABEL, MANAGED_BY
from tunecast_operator.runtime.adopted_pods import ADOPTED_PODS
from tunecast_operator.runtime.cluster import CONFIG_MAP, INFERENCE_DEPLOYMENT, STARTUP_CACHE
from tunecast_operator.runtime.workqueue import Item

Enqueue = Callable[[Item], None]
_OURS = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
# Pods keep the labels of their templates, which may name another tool as their manager.
SELECTORS = {"deployments": _OURS, "jobs": _OURS, "configmaps": _OURS, "pods": KEY_LABEL}


def register(registry: kopf.OperatorRegistry, enqueue: Enqueue) -> None:
    """Enqueues an object when it, one of its children, or an object that it refers to changes.

    ``enqueue`` is called in the event loop, so it must not block.
    """

    async def on_event(body: kopf.Body, **_: Any) -> None:  # a coroutine: kopf runs plain functions in threads
        for item in concerned(dict(body)):
            enqueue(item)

    for plural in ("inferencedeployments", "startupcaches"):
        kopf.on.event(GROUP, VERSION, plural, registry=registry)(on_event)
    kopf.on.event("apps", "v1", "deployments", registry=registry)(on_event)
    kopf.on.event("batch", "v1", "jobs", registry=registry)(on_event)
    kopf.on.event("v1", "pods", registry=registry)(on_event)
    kopf.on.event("v1", "configmaps", registry=registry)(on_event)
    kopf.on.login(registry=registry)(log_in)


def log_in(**arguments: Any) -> kopf.ConnectionInfo | None:
    """Logs in with the service account of the pod, else with the kubeconfig. kopf repeats it when a token expires."""
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


def concerned(body: dict[str, Any]) -> Iterator[Item]:
    """Yields the objects to reconcile after this one changed."""
    metadata = body["metadata"]
    namespace, labels = metadata["namespace"], metadata.get("labels") or {}
    if body.get("kind") == INFERENCE_DEPLOYMENT.name:
        yield Item(INFERENCE_DEPLOYMENT.name, namespace, metadata["name"])
        for cache in read_status(InferenceDeploymentStatus, body).cache_names:
            yield Item(STARTUP_CACHE.name, namespace, cache)
    elif body.get("kind") == STARTUP_CACHE.name:
        yield Item(STARTUP_CACHE.name, namespace, metadata["name"])
        status = read_status(StartupCacheStatus, body)
        for name in status.referred_by:
            yield Item(INFERENCE_DEPLOYMENT.name, namespace, name)
        if status.used_by:
            yield Item(ADOPTED_PODS, namespace, str(body["spec"]["key"]))
    elif body.get("kind") == CONFIG_MAP.name and metadata["name"] == TRUST:
        yield Item(CONFIG_MAP.name, namespace, TRUST)
    elif DEPLOYMENT_LABEL in labels:
        yield Item(INFERENCE_DEPLOYMENT.name, namespace, labels[DEPLOYMENT_LABEL])
    elif CACHE_LABEL in labels:
        yield Item(STARTUP_CACHE.name, namespace, labels[CACHE_LABEL])


def configure(settings: kopf.OperatorSettings) -> None:
    """Makes kopf watch only objects with our labels, post no Events, and not scan for new kinds."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.persistence.finalizer = f"{GROUP}/never"  # no handler needs a finalizer; the name would reveal a bug
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.server_timeout = 300
    # kopf has a worker for each object, which stays for a while after its last event. A limit on workers, or a longer
    # stay, would let only a few objects per second through. Handlers only enqueue, so workers are cheap.
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 0.2
    settings.watching.label_selectors.update(SELECTORS)
