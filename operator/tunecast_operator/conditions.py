"""Condition types, their stable reasons, and how a list of conditions is updated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from tunecast_operator.api.status import ConditionStatus


class ConditionType(StrEnum):
    """Types of the conditions of both kinds."""

    READY = "Ready"
    CACHE_READY = "CacheReady"
    RECONCILING = "Reconciling"  # kstatus: present and True while something is under way
    STALLED = "Stalled"  # kstatus: True when a user has to change something
    DRIFTED = "Drifted"  # present only while replicas run another image, GPU or driver than their bundle was made with
    BUNDLE_MISSING = "BundleMissing"  # present only while replicas run on hardware that has no bundle of their key
    PODS_MISSED = "PodsMissed"  # present only while adopted pods run without the bundle that they could have


class Reason(StrEnum):
    """Reasons that plans give, by the condition that has them. Errors and attempts have reasons of their own."""

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
    # PodsMissed
    NOT_INJECTED = "NotInjected"
    STARTED_BEFORE = "StartedBeforeBundle"
    KEY_DIFFERS = "KeyDiffers"


OVERDUE = {Reason.QUEUE_TIMEOUT, Reason.TIMED_OUT}  # replicas no longer wait for the StartupCache
Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition without generation and transition time. ``warning`` makes the Event of its transition a Warning."""

    type: str
    status: Status
    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """A condition whose status or reason changed, and the identity of the condition that it replaced."""

    condition: Condition
    previous: str


def merge(
    old: Sequence[ConditionStatus], new: Iterable[Condition], generation: int, now: str
) -> tuple[list[ConditionStatus], list[Transition]]:
    """Returns the conditions to write, in the order of ``new``, and a transition for each change of status or reason.

    As in Kubernetes, ``lastTransitionTime`` changes only with the status.
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
    """Returns every field: reasons recur, and only the message names the attempt."""
    if known is None:
        return "None/None/None/None"
    return f"{known.status}/{known.reason}/{known.last_transition_time}/{known.message}"


def kept(known: ConditionStatus) -> Condition:
    """Returns the condition that was written before."""
    return Condition(known.type, known.status, known.reason, known.message)


def find(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Returns the condition of this type, or an empty mapping."""
    return next((c for c in status.get("conditions", ()) if c["type"] == kind), {})
