"""Plans an InferenceDeployment: its StartupCaches, its Deployment, its Service and its status."""

from __future__ import annotations

from tunecast_operator.api.status import MadeWith, State
from tunecast_operator.plan.drift import Drift, drift
from tunecast_operator.plan.quarantine import protect
from tunecast_operator.plan.release import release
from tunecast_operator.plan.rollout import rollout
from tunecast_operator.plan.serving import ObservedServing, ServingPlan
from tunecast_operator.plan.serving_conditions import conditions
from tunecast_operator.plan.serving_status import status
from tunecast_operator.plan.wanted import Wanted, wanted
from tunecast_operator.pods import key as pod_key
from tunecast_operator.pods import over
from tunecast_operator.resources.init_container import InitContainer


def decide(seen: ObservedServing, init: InitContainer, key_version: int) -> ServingPlan:
    """Returns the plan. New revisions get ``init`` and ``key_version``; revisions that exist keep their own.

    A revision whose pods can't start gets ``init``, too.
    """
    wants = wanted(seen, init, key_version)
    may_start = release(seen, wants)
    rolled = rollout(seen, wants, may_start)
    differs = _drift(seen, wants)
    protection = protect(seen.quarantine, seen.caches, seen.crashes, seen.pods)
    return ServingPlan(
        create_caches=wants.create,
        apply_deployment=rolled.deployment,
        scale=rolled.scale,
        service=rolled.service,
        status=status(seen, wants, rolled.revision, differs),
        conditions=conditions(seen, wants, may_start, rolled, differs, protection.quarantine),
        protection=protection,
        requeue_seconds=may_start.requeue_seconds,
    )


def _drift(seen: ObservedServing, wants: Wanted) -> list[Drift]:
    serving = [pod for pod in seen.pods if pod_key(pod) == wants.revision.key and not over(pod)]
    ready = [cache for cache in wants.caches if cache.state == State.READY]
    return drift({cache.hardware: cache.status.made_with or MadeWith() for cache in ready}, serving, seen.nodes)
