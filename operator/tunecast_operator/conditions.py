"""Condition types, their stable reasons, and how a list of conditions changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunecast_operator.api.status import ConditionStatus

READY = "Ready"
CACHE_READY = "CacheReady"
RECONCILING = "Reconciling"  # kstatus: present and True while something is under way
STALLED = "Stalled"  # kstatus: True when nothing will change without its user
DRIFTED = "Drifted"  # there, and True, only while replicas run something else than their bundle was made with
BUNDLE_MISSING = "BundleMissing"  # likewise while replicas run on hardware that no bundle of their key was made on

# CacheReady
PUBLISHED = "Published"
WAITING = "WaitingForCache"
QUEUED = "Queued"
TUNING = "Tuning"
PUBLISHING = "Publishing"
PODS_CANNOT_START = "PodsCannotStart"
RETRYING = "Retrying"
ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
TIMED_OUT = "TimedOut"
INEFFECTIVE = "Ineffective"
QUARANTINED = "Quarantined"
QUARANTINE_LIFTED = "QuarantineLifted"
DISABLED = "TuningDisabled"
UNWANTED = "Unwanted"
QUEUE_TIMEOUT = "QueueTimeout"
TOO_MANY_DISRUPTIONS = "TooManyDisruptions"
OVERDUE = {QUEUE_TIMEOUT, TIMED_OUT}  # replicas wait no longer, whatever becomes of the cache
# Ready
HELD = "HeldForTuning"
REPLICAS_READY = "ReplicasReady"
REPLICAS_NOT_READY = "ReplicasNotReady"
# Reconciling, Stalled
IDLE = "Idle"
ROLLING_OUT = "RollingOut"
INVALID_SPEC = "InvalidSpec"
# Drifted
IMAGE_DIFFERS = "ImageDiffers"
GPU_DIFFERS = "GpuDiffers"
DRIVER_DIFFERS = "DriverDiffers"
# BundleMissing
TUNING_FOR_HARDWARE = "TuningForHardware"
HARDWARE_NOT_TUNED = "HardwareNotTuned"
HARDWARE_LIMIT = "HardwareLimitReached"

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition without its bookkeeping. ``warning`` marks a transition whose Event is a warning."""

    type: str
    status: Status
    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """A condition that took another status or reason, and what it was before, whole."""

    condition: Condition
    previous: str


def merge(
    old: Sequence[ConditionStatus], new: Iterable[Condition], generation: int, now: str
) -> tuple[list[ConditionStatus], list[Transition]]:
    """Returns the conditions to write, sorted as given, and those that took another status or reason.

    ``lastTransitionTime`` moves with the status alone, as Kubernetes has it.
    """
    before = {condition.type: condition for condition in old}
    merged, transitions = [], []
    for condition in new:
        known = before.get(condition.type)
        same = known is not None and known.status == condition.status
        merged.append(
            ConditionStatus(
                type=condition.type,
                status=condition.status,
                reason=condition.reason,
                message=condition.message[:32768],
                observed_generation=generation,
                last_transition_time=known.last_transition_time if known and same else now,
            )
        )
        if known is None or not same or known.reason != condition.reason:
            transitions.append(Transition(condition, _identity(known)))
    return merged, transitions


def _identity(known: ConditionStatus | None) -> str:
    """All of it: reasons come again, and only messages name attempts."""
    if known is None:
        return "None/None/None/None"
    return f"{known.status}/{known.reason}/{known.last_transition_time}/{known.message}"


def kept(known: ConditionStatus) -> Condition:
    """A condition as it was written before."""
    return Condition(known.type, known.status, known.reason, known.message)


def find(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of this type, or an empty mapping."""
    return next((c for c in status.get("conditions", ()) if c["type"] == kind), {})
