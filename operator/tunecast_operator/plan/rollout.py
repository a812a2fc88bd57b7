"""Decides what rolls out: the Deployment with its replicas, and the Service of the revision that serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunecast_operator.api.status import State
from tunecast_operator.plan.release import Release
from tunecast_operator.plan.serving import ObservedReplicas, ObservedServing
from tunecast_operator.plan.wanted import Wanted
from tunecast_operator.pods import engine_name
from tunecast_operator.resources.deployment import deployment
from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.resources.revision import RENDERER, Revision
from tunecast_operator.resources.service import serving_service


@dataclass(frozen=True, slots=True)
class Rollout:
    """The Deployment and the Service to apply.

    Attributes:
        revision: the revision that serves, or is about to serve.
        deployment: Deployment to apply if it differs; None if the live one stays.
        scale: number of replicas to set if the live Deployment stays; None if it has that number.
        service: Service of ``revision``.
        applied: whether the live Deployment already has ``revision``.
    """

    revision: Revision
    deployment: dict[str, Any] | None
    scale: int | None
    service: dict[str, Any]
    applied: bool


def rollout(seen: ObservedServing, wanted: Wanted, release: Release) -> Rollout:
    """Keeps the old revision if replicas wait, else rolls out the wanted one."""
    live = seen.live
    if release.keeps_old and live:
        return Rollout(live, None, _old_size(seen), live_service(seen, live), applied=True)
    environment = _environment(wanted, live, held=release.held)
    revision = replace(wanted.revision, held=release.held, environment=environment)
    found = _deployment(seen, revision, live)
    scale = _old_size(seen) if found is None else None
    return Rollout(revision, found, scale, _service(seen), applied=found is None or live == revision)


def _environment(wanted: Wanted, live: Revision | None, *, held: bool) -> dict[str, str]:
    """Returns variables that the bundle needs. A revision that has had replicas keeps what it was rendered with."""
    if live and not live.held and live.spec == wanted.revision.spec:
        return live.environment
    if held or wanted.cache is None or wanted.state != State.READY:
        return {}
    return wanted.cache.status.environment


def _deployment(seen: ObservedServing, revision: Revision, live: Revision | None) -> dict[str, Any] | None:
    """Returns the Deployment to apply; None if another version of the operator rendered the same, which stays."""
    replicas = 0 if revision.held else _replicas(seen, live)
    if live is not None and live.renderer != RENDERER and _inputs(live) == _inputs(revision):
        return None
    return deployment(dict(seen.owner), seen.spec, seen.engine, revision, replicas)


def _inputs(revision: Revision) -> tuple[str, bool, InitContainer]:
    """Returns what a user or an administrator decides about a template."""
    return revision.spec, revision.held, revision.init


def _replicas(seen: ObservedServing, live: Revision | None) -> int | None:
    """Returns the number of replicas to apply; None if another field manager owns it.

    Without a number in the spec, it is the live one, or 1 when a held revision is released.
    """
    if seen.spec.replicas is not None:
        return seen.spec.replicas
    if seen.deployment is None or (live is not None and live.held):
        return 1
    owner = _replicas_owner(seen.deployment or {})
    return seen.live_replicas if owner == "tunecast" else None


def _replicas_owner(live: Mapping[str, Any]) -> str:
    """Returns the field manager that set ``spec.replicas`` last."""
    for entry in live.get("metadata", {}).get("managedFields", ()):
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {}):
            return str(entry.get("manager"))
    return "tunecast"


def _old_size(seen: ObservedServing) -> int | None:
    current = ((seen.deployment or {}).get("spec") or {}).get("replicas")
    return seen.spec.replicas if seen.spec.replicas not in (None, current) else None


def _service(seen: ObservedServing) -> dict[str, Any]:
    line = seen.engine.line
    return serving_service(dict(seen.owner), seen.engine.container, line.port, tls=line.scheme == "https")


def live_service(seen: ObservedReplicas, live: Revision) -> dict[str, Any]:
    """Returns the Service of the old revision, which goes on serving."""
    template = (seen.deployment or {})["spec"]["template"]
    containers = [c for c in template["spec"]["containers"] if c["name"] == engine_name(template)]
    return serving_service(dict(seen.owner), containers[0] if containers else {}, live.port, tls=live.tls)
