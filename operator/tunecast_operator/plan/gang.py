"""The ranks of one attempt as a gang: all of them run and find each other in time, or none keeps its GPUs."""

from __future__ import annotations

from tunecast_core.records.job import JOIN_TIMED_OUT
from tunecast_operator import pods, times
from tunecast_operator.plan.blocked import Blocked
from tunecast_operator.plan.outcome import AttemptReason, Outcome, OutcomeKind
from tunecast_operator.plan.tuning import ObservedTuning
from tunecast_operator.pods import Pod
from tunecast_operator.resources.job import RENDEZVOUS_PORT

JOIN_SECONDS = 300.0  # for ranks that all run to find each other: they need seconds, but torch may load slowly


def all_started(seen: ObservedTuning) -> bool:
    """Whether every rank's engine container runs, or has run."""
    return sum(pods.engine(pod).has_run for pod in seen.pods) >= seen.spec.ranks


def stuck(seen: ObservedTuning, why: Blocked | None) -> Outcome | None:
    """Returns why the attempt should end now, since its ranks hold GPUs without progress; None while it may go on.

    Args:
        seen: the observed state, with the Job of an attempt that is under way.
        why: what keeps a pod from starting.
    """
    if all_started(seen):
        return _unjoined(seen)
    return _partial(seen, why) or _without_room(seen, why)


def _partial(seen: ObservedTuning, why: Blocked | None) -> Outcome | None:
    """Finds ranks that hold a node for too long while others can't start.

    Ranks without a known reason may be pulling an image, so they have ``timeout`` in place of ``queueTimeout``.
    """
    since = min((bound for pod in seen.pods if (bound := _bound_since(pod))), default="")
    limit, seconds = (
        (seen.spec.queue_timeout, seen.spec.queue_timeout_seconds)
        if why
        else (seen.spec.timeout, seen.spec.timeout_seconds)
    )
    if not since or times.seconds_since(since, seen.now) <= seconds:
        return None
    started = sum(pods.engine(pod).has_run for pod in seen.pods)
    text = f"only {started} of {seen.spec.ranks} ranks ran within {limit} of the first one's binding to a node"
    return _not_scheduled(text, why)


def _without_room(seen: ObservedTuning, why: Blocked | None) -> Outcome | None:
    """Finds a Job that found no room within ``queueTimeout`` while another StartupCache waits for its slot."""
    created = (seen.job or {}).get("metadata", {}).get("creationTimestamp")
    late = times.seconds_since(created, seen.now) > seen.spec.queue_timeout_seconds
    if not seen.waited_for or not late or any(map(_bound_since, seen.pods)):
        return None
    text = f"no rank was bound to a node within {seen.spec.queue_timeout}, and other StartupCaches wait for their turn"
    return _not_scheduled(text, why)


def _not_scheduled(text: str, why: Blocked | None) -> Outcome:
    cause = f"{why.reason}: {why.message}" if why else "kubectl describe pod shows what the others wait for"
    return Outcome(
        OutcomeKind.UNSCHEDULED, AttemptReason.RANKS_NOT_SCHEDULED, f"{text}, so their Job was deleted: {cause}"
    )


def _bound_since(pod: Pod) -> str:
    """Returns when a rank that may hold GPUs was bound to its node, in RFC 3339; empty if it wasn't."""
    if not pods.node(pod):
        return ""
    scheduled = pods.condition(pod, "PodScheduled")
    since = scheduled.changed_at if scheduled and scheduled.status == "True" else ""
    return since or str(pod["metadata"].get("creationTimestamp", ""))


def _unjoined(seen: ObservedTuning) -> Outcome | None:
    """Finds an attempt whose ranks all run while rank 0 still waits for others."""
    joining = seen.progress is not None and seen.progress.stage == "Joining"
    begun = [pods.engine(pod).running_since or "" for pod in seen.pods]
    if not joining or not all(begun) or times.seconds_since(max(begun), seen.now) <= JOIN_SECONDS:
        return None
    text = f"all {seen.spec.ranks} ranks run, but did not find each other within {JOIN_SECONDS:.0f} s"
    cause = "a NetworkPolicy or a service mesh may drop traffic between them"
    hint = f"allow traffic between pods of the Job, to port {RENDEZVOUS_PORT} and to high ports"
    return Outcome(OutcomeKind.CRASHED, JOIN_TIMED_OUT, f"{text}: {cause}. {hint.capitalize()}")
