"""Plans an InferenceDeployment whose spec can't be rolled out: the live revision still scales and is protected."""

from __future__ import annotations

from tunecast_operator.api.status import InferenceDeploymentStatus, read_status
from tunecast_operator.conditions import Condition, ConditionType
from tunecast_operator.plan.quarantine import protect
from tunecast_operator.plan.rollout import live_service
from tunecast_operator.plan.serving import ObservedReplicas, ServingPlan


def decide(seen: ObservedReplicas, reason: str, message: str) -> ServingPlan:
    """Keeps the live revision and its Service, and applies nothing of the spec but the number of replicas.

    Args:
        seen: the observed replicas.
        reason: reason of the conditions.
        message: what a user has to change.
    """
    live, wanted = seen.live, _replicas(seen)
    serves = live is not None and not live.held
    return ServingPlan(
        create_caches=(),
        apply_deployment=None,
        scale=wanted if serves and wanted not in {None, seen.live_replicas} else None,
        service=live_service(seen, live) if live else None,
        status=_status(seen, wanted),
        conditions=(
            Condition(ConditionType.READY, "False", reason, message, warning=True),
            Condition(ConditionType.RECONCILING, "False", reason, message),
            Condition(ConditionType.STALLED, "True", reason, message, warning=True),
        ),
        protection=protect(seen.quarantine, seen.caches, seen.crashes, seen.pods),
    )


def _replicas(seen: ObservedReplicas) -> int | None:
    """Returns the spec's number of replicas, which the CRD's schema checks; None if the spec has none."""
    found = (seen.owner.get("spec") or {}).get("replicas")
    return found if isinstance(found, int) else None


def _status(seen: ObservedReplicas, wanted: int | None) -> InferenceDeploymentStatus:
    """Returns the status of the last spec that was rolled out, with the current numbers of replicas."""
    known = read_status(InferenceDeploymentStatus, dict(seen.owner))
    if seen.live is None:
        return known
    counts = (seen.deployment or {}).get("status") or {}
    current = {
        "replicas": counts.get("replicas", 0),
        "ready_replicas": counts.get("readyReplicas", 0),
        "desired_replicas": seen.live_replicas if wanted is None else wanted,
    }
    return known.model_copy(update=current)
