"""Decides whether replicas of the wanted revision may start or wait for its StartupCache."""

from __future__ import annotations

from dataclasses import dataclass

from tunecast_operator import times
from tunecast_operator.api.inference_deployment import TuningPolicy
from tunecast_operator.conditions import find
from tunecast_operator.plan.blocked import EVICTED, blocked
from tunecast_operator.plan.serving import ObservedServing
from tunecast_operator.plan.wanted import Wanted
from tunecast_operator.pods import engine

# An old revision that has had no ready replica for this long serves nobody, and no longer keeps a new one waiting.
FAILING_SECONDS = 120.0  # where its engines crash, or its pods can't start
STARTING_SECONDS = 600.0  # where its replicas only take long to start: a Deployment's default progressDeadlineSeconds
_SERVES = float("inf")


@dataclass(frozen=True, slots=True)
class Release:
    """Whether replicas of the wanted revision may start.

    Attributes:
        held: the Deployment has the wanted revision and no replicas.
        keeps_old: the Deployment keeps its revision, which serves.
        requeue_seconds: time after which the old revision is no longer kept; no event announces it.
    """

    held: bool
    keeps_old: bool
    requeue_seconds: float | None


def release(seen: ObservedServing, wanted: Wanted) -> Release:
    """Holds replicas only with the policy TuneFirst, until the StartupCache is decided."""
    waiting = seen.spec.tuning.policy == TuningPolicy.TUNE_FIRST and not wanted.decided
    live, patience = seen.live, _patience(seen)
    keeps_old = waiting and live is not None and not live.held and live.key != wanted.revision.key and patience > 0
    held = waiting and (seen.deployment is None or (live is not None and live.held))
    return Release(held, keeps_old, patience if keeps_old and patience != _SERVES else None)


def _patience(seen: ObservedServing) -> float:
    """Returns for how many seconds an old revision without a ready replica still keeps a new one waiting."""
    live = seen.deployment or {}
    status = live.get("status") or {}
    if status.get("readyReplicas") or not seen.live_replicas:
        return _SERVES
    available = find(status, "Available")
    since = available.get("lastTransitionTime") or live.get("metadata", {}).get("creationTimestamp")
    why = blocked(seen.pods, live, seen.now)
    fails = any(engine(pod).restarts for pod in seen.pods) or (why is not None and why.reason != EVICTED)
    return (FAILING_SECONDS if fails else STARTING_SECONDS) - times.seconds_since(since, seen.now)
