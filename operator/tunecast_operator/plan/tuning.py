"""Observed state of a StartupCache, and the actions of a plan for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tunecast_core.errors import TunecastError
from tunecast_core.records.job import Progress, RankResult
from tunecast_core.records.manifest import Manifest
from tunecast_operator import times
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.api.status import StartupCacheStatus, State
from tunecast_operator.conditions import Condition
from tunecast_operator.plan.rivals import Rival
from tunecast_operator.plan.slots import Queued
from tunecast_operator.plan.workloads import UsingPod
from tunecast_operator.resources.quarantine import Quarantine

NODES_GONE_SECONDS = 600.0  # in which a node may come back, or the pods of a node that is gone are deleted
UNUSED_SECONDS = 600.0  # a rollout may leave a key without pods for a while


@dataclass(frozen=True, slots=True)
class CreateAttempt:
    attempt: int


@dataclass(frozen=True, slots=True)
class RenewSettings:
    attempt: int


@dataclass(frozen=True, slots=True)
class DeleteJob:
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Publish:
    attempt: int
    result: RankResult


@dataclass(frozen=True, slots=True)
class CleanUpAttempt:
    """Removes the Secret and all staged objects. The finished Job stays for a day, for its logs."""

    attempt: int


@dataclass(frozen=True, slots=True)
class DeleteService:
    """Deletes the Service by which ranks find each other."""


@dataclass(frozen=True, slots=True)
class DeleteStartupCache:
    """Deletes the StartupCache, to which nothing has referred for a day."""


Action = CreateAttempt | RenewSettings | DeleteJob | Publish | CleanUpAttempt | DeleteService | DeleteStartupCache


@dataclass(frozen=True, slots=True)
class Published:
    """A bundle of this key in the store, with a trusted signature."""

    manifest: Manifest
    digest: str
    signer: str


@dataclass(frozen=True, slots=True)
class ObservedTuning:
    cache: Mapping[str, Any]  # the StartupCache as the API server returned it
    spec: StartupCacheSpec
    status: StartupCacheStatus
    wanted_by: Sequence[str]  # InferenceDeployments whose status names this StartupCache
    now: datetime
    adopted: Sequence[UsingPod] = ()  # adopted pods of this key
    rival: Rival | None = None  # another StartupCache that tunes this key now
    queued: Queued | None = None  # its position in the queue, if as many StartupCaches tune as may
    waited_for: bool = False  # whether another StartupCache could tune if this one didn't
    nodes_gone: bool = False  # spec.hardware's nodes are selected by their names, and none of them exists
    published: Published | None = None
    store_error: TunecastError | None = None
    publish_error: TunecastError | None = None  # what was staged can't be published
    job: Mapping[str, Any] | None = None  # of the newest attempt
    pods: Sequence[Mapping[str, Any]] = ()  # of the newest attempt
    refusal: str = ""  # why its Job's controller could not create a pod
    results: Mapping[int, RankResult] = field(default_factory=dict)
    progress: Progress | None = None
    quarantine: Quarantine = field(default_factory=Quarantine)  # as the namespace's trust ConfigMap records it

    @property
    def attempt(self) -> int:
        """Number of the newest attempt; 0 before the first."""
        return max(attempt_of(self.job) if self.job else 0, self.status.attempt or 0)

    @property
    def wanted(self) -> bool:
        """Whether an InferenceDeployment refers to it, or adopted pods have its key, or had it a moment ago."""
        return bool(self.wanted_by or self.adopted) or self.unused_seconds_left > 0

    @property
    def unused_seconds_left(self) -> float:
        """Seconds for which it stays wanted although no adopted pod has its key any more."""
        if self.adopted or not (self.status.used_by or self.status.unused_since):
            return 0.0
        return UNUSED_SECONDS - times.seconds_since(self.status.unused_since or times.text(self.now), self.now)

    @property
    def unresolved(self) -> bool:
        """Whether the end of the newest attempt has not been accounted for."""
        ours = self.job is not None and (self.status.attempt or 0) < self.attempt
        return ours or bool(self.status.job)

    @property
    def lifted(self) -> bool:
        """Whether status still shows Quarantined although replicas may start from the bundle again."""
        return self.status.state == State.QUARANTINED and self.quarantine.lifted(self.status.manifest or "")


def attempt_of(job: Mapping[str, Any]) -> int:
    """Returns the number of a Job's attempt, read from its immutable name."""
    number = str(job["metadata"]["name"]).rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class TuningPlan:
    actions: tuple[Action, ...]
    status: StartupCacheStatus  # its conditions are replaced by ``conditions``
    conditions: tuple[Condition, ...]  # none: status stays as it is
    requeue_seconds: float | None = None

    @property
    def begins_attempt(self) -> bool:
        """Whether an attempt begins, for which a slot is needed."""
        return any(isinstance(action, CreateAttempt) for action in self.actions)
