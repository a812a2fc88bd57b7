"""Finds serving pods whose engine crashed and has never been ready since the init container ended."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tunecast_core.records import report
from tunecast_operator import pods, times
from tunecast_operator.pods import Container, Pod, Termination
from tunecast_operator.resources.quarantine import Failure

KILLED = {137, 143}  # by SIGKILL and SIGTERM: out of memory, a failed probe or a drain
NOT_ITS_OWN = {"OOMKilled", "ContainerStatusUnknown"}
_EVER = "1970-01-01T00:00:00Z"
_ERROR = re.compile(r"\b[\w.]*(?:error|exception)\b.*", re.IGNORECASE)
_VARYING = re.compile(r"/\S+|\b0x[0-9a-f]+\b|\b[0-9a-f]{8,}\b|\d+", re.IGNORECASE)  # paths, addresses, digests, numbers


@dataclass(frozen=True, slots=True)
class Crash:
    """A replica whose engine crashed ``times`` times before it was ever ready."""

    pod: str
    uid: str
    manifest: str  # digest of the bundle that it started from, or if ``cold``, of the quarantined bundle
    times: int
    failure: Failure
    cold: bool = False

    def __str__(self) -> str:
        return f"{self.pod} ended with {self.failure.exit_code}" + (f", {self.times} times" if self.times > 1 else "")


def crashes(found: Iterable[Pod]) -> list[Crash]:
    """Returns crashes of replicas that started from a bundle, or cold because their bundle is quarantined."""
    return [crash for pod in found if (crash := _crash(pod))]


def _crash(pod: Pod) -> Crash | None:
    run = next(iter(pods.init_runs([pod]).values()), None)
    if run is None or _ends(pod):
        return None
    installed, found = run
    cold = found.result == "Cold" and found.reason == report.QUARANTINED
    engine = pods.engine(pod)
    if not found.manifest or not (found.result == "Hit" or cold) or not _never_ready(pod, engine, installed):
        return None
    deleted = _deleted(pod)
    ended = [found for found in _terminations(engine, installed) if deleted is None or _finished_before(found, deleted)]
    if not ended or not _crashed(ended[0]):
        return None
    count = sum(map(_crashed, ended)) if deleted else _count(pod, engine, ended)
    return Crash(pods.name(pod), str(pod["metadata"]["uid"]), found.manifest, count, _failure(ended[0]), cold)


def _ends(pod: Pod) -> bool:
    """Whether the pod was or is being ended from outside, so that its exit is no evidence against the bundle."""
    return pods.condition(pod, "DisruptionTarget") is not None or pods.over(pod) or bool(pods.reason(pod))


def _deleted(pod: Pod) -> datetime | None:
    """Returns when somebody deleted the pod; None if nobody did. Exits since then are no evidence."""
    if not pods.deleting(pod):
        return None
    metadata = pod["metadata"]
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    return times.parse(metadata["deletionTimestamp"]) - grace


def _finished_before(ended: Termination, moment: datetime) -> bool:
    return bool(ended.finished_at) and times.parse(ended.finished_at) < moment


def _never_ready(pod: Pod, engine: Container, installed: str) -> bool:
    """Whether the conditions show that the pod has not been ready since the init container ended at ``installed``.

    A kubelet sets both conditions to False before the init containers run, and ``lastTransitionTime`` moves only when
    the status changes: a later time means that the pod became ready since, however often its container restarted.
    Without both conditions nothing is known, and the bundle is not blamed.
    """
    if engine.ready or engine.started:
        return False
    moved = {found.type: found.changed_at for found in pods.conditions(pod) if found.status == "False"}
    moments = [moved.get("Ready"), moved.get("ContainersReady")]
    return all(moment and times.parse(moment) <= times.parse(installed) for moment in moments)


def _terminations(engine: Container, installed: str) -> Sequence[Termination]:
    """Returns the engine's terminations in its status, the newest first, without those of an earlier pod sandbox."""
    shown = [ended for ended in (engine.terminated, engine.terminated_before) if ended]
    return [ended for ended in shown if times.parse(ended.started_at or _EVER) >= times.parse(installed)]


def _crashed(ended: Termination) -> bool:
    """Whether the engine ended by itself and not by the kernel or the kubelet."""
    return bool(ended.exit_code) and ended.exit_code not in KILLED and ended.reason not in NOT_ITS_OWN


def _count(pod: Pod, engine: Container, ended: Sequence[Termination]) -> int:
    """Counts the engine's crashes: all its runs, unless some were killed or may belong to an earlier sandbox."""
    shown = sum(map(_crashed, ended))
    if shown < len(ended) or pods.installer(pod).restarts:
        return shown
    between = engine.running_since is None  # the run that ended last isn't in ``restarts`` yet
    return max(shown, engine.restarts + between)


def _failure(ended: Termination) -> Failure:
    """Returns the exit code and a digest of the last error, which FallbackToLogsOnError puts into the message."""
    errors = _ERROR.findall(ended.message)
    error = hashlib.sha256(_VARYING.sub("#", errors[-1]).encode()).hexdigest()[:16] if errors else ""
    return Failure(ended.exit_code, error)
