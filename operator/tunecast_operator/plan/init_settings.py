"""Decides which image and settings the init container of a Deployment's pods gets."""

from __future__ import annotations

from collections.abc import Iterator

from tunecast_operator.conditions import find
from tunecast_operator.plan.blocked import in_trouble
from tunecast_operator.plan.serving import ObservedServing
from tunecast_operator.pods import Pod, condition, engine, installer, over
from tunecast_operator.resources.init_container import InitContainer


def init_settings(seen: ObservedServing, live: InitContainer, own: InitContainer) -> InitContainer:
    """Returns the settings of the live revision, so that an operator upgrade or another chart value rolls nothing.

    Returns the operator's own settings if the live ones may keep all pods from starting: a rollout then disturbs
    nothing, because no engine has run.

    Args:
        seen: the observed state, whose live revision has the wanted spec.
        live: settings of the live revision.
        own: settings that the operator gives to new revisions.
    """
    return own if _nothing_runs(seen) and any(_kept_out(seen, live, own)) else live


def _nothing_runs(seen: ObservedServing) -> bool:
    """Whether replicas are requested, and no engine of them has started."""
    ready = ((seen.deployment or {}).get("status") or {}).get("readyReplicas")
    return bool(seen.live_replicas) and not ready and not any(engine(pod).has_run for pod in _present(seen))


def _kept_out(seen: ObservedServing, live: InitContainer, own: InitContainer) -> Iterator[bool]:
    """Yields whether each known obstacle is there. A pod requests at least what each of its init containers does."""
    yield find((seen.deployment or {}).get("status") or {}, "ReplicaFailure").get("status") == "True"
    resources_differ = live.settings.resources != own.settings.resources
    for pod in _present(seen):
        scheduled = condition(pod, "PodScheduled")
        yield in_trouble(installer(pod))
        yield resources_differ and scheduled is not None and scheduled.status == "False"


def _present(seen: ObservedServing) -> list[Pod]:
    """Returns the pods that have not ended: evicted pods stay listed."""
    return [pod for pod in seen.pods if not over(pod)]
