"""Serving pods whose engine crashed and has never been ready since the init container ended."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunecast_cache import report
from tunecast_operator import times
from tunecast_operator.plan.reports import init_runs, over
from tunecast_operator.pods import Pod, engine_status
from tunecast_operator.resources.quarantine import Failure
from tunecast_operator.resources.replica import INIT

KILLED = {137, 143}  # by SIGKILL and SIGTERM: memory, a probe, a drain
NOT_ITS_OWN = {"OOMKilled", "ContainerStatusUnknown"}
_EVER = "1970-01-01T00:00:00Z"
_ERROR = re.compile(r"\b[\w.]*(?:error|exception)\b.*", re.IGNORECASE)
_VARYING = re.compile(r"/\S+|\b0x[0-9a-f]+\b|\b[0-9a-f]{8,}\b|\d+", re.IGNORECASE)  # paths, addresses, digests, numbers


@dataclass(frozen=True, slots=True)
class Crash:
    """A replica whose engine crashed ``times`` times before it was ever ready."""

    pod: str
    uid: str
    manifest: str  # digest of the bundle that it started from; if ``cold``, of the quarantined one that it didn't get
    times: int
    failure: Failure
    cold: bool = False

    def __str__(self) -> str:
        return f"{self.pod} ended with {self.failure.exit_code}" + (f", {self.times} times" if self.times > 1 else "")


def crashes(pods: Iterable[Pod]) -> list[Crash]:
    """Crashes of replicas that started from a bundle, or that started cold because their bundle is quarantined."""
    return [crash for pod in pods if (crash := _crash(pod))]


def _crash(pod: Pod) -> Crash | None:
    run = next(iter(init_runs([pod]).values()), None)
    if run is None or _ends(pod):
        return None
    installed, said = run
    cold = said.result == "Cold" and said.reason == report.QUARANTINED
    engine = engine_status(pod)
    if not said.manifest or not (said.result == "Hit" or cold) or not _never_ready(pod, engine, installed):
        return None
    ended = _terminations(engine, installed)
    if not ended or not _crashed(ended[0]):
        return None
    metadata, count = pod["metadata"], _count(pod, engine, ended)
    return Crash(metadata["name"], metadata["uid"], said.manifest, count, _failure(ended[0]), cold)


def _status(pod: Pod, kind: str, container: str) -> Mapping[str, Any]:
    statuses = pod.get("status", {}).get(kind, ())
    return next((status for status in statuses if status["name"] == container), {})


def _ends(pod: Pod) -> bool:
    """The pod is being ended or was ended from outside, so its engine's exit says nothing about the bundle."""
    status = pod.get("status", {})
    disrupted = any(condition["type"] == "DisruptionTarget" for condition in status.get("conditions", ()))
    return disrupted or over(pod) or bool(status.get("reason") or pod["metadata"].get("deletionTimestamp"))


def _never_ready(pod: Pod, engine: Mapping[str, Any], installed: str) -> bool:
    """Whether the conditions show that the pod has not been ready since the init container ended at ``installed``.

    A kubelet sets both conditions to False before the init containers run, and ``lastTransitionTime`` moves only when
    the status changes: a later time means that the pod became ready since, however often its container restarted.
    Without both conditions nothing is known, and the bundle is not blamed.
    """
    if engine.get("ready") or engine.get("started"):
        return False
    conditions = pod.get("status", {}).get("conditions", ())
    moved = {c["type"]: c.get("lastTransitionTime") for c in conditions if c["status"] == "False"}
    found = [moved.get("Ready"), moved.get("ContainersReady")]
    return all(moment and times.parse(moment) <= times.parse(installed) for moment in found)


def _terminations(engine: Mapping[str, Any], installed: str) -> Sequence[Mapping[str, Any]]:
    """The engine's terminations that its status shows, newest first, without those of an earlier pod sandbox."""
    shown = (engine.get(state, {}).get("terminated") or {} for state in ("state", "lastState"))
    return [ended for ended in shown if times.parse(ended.get("startedAt") or _EVER) >= times.parse(installed)]


def _crashed(ended: Mapping[str, Any]) -> bool:
    """Whether the engine ended by itself and not by the kernel or the kubelet."""
    return bool(ended.get("exitCode")) and ended["exitCode"] not in KILLED and ended.get("reason") not in NOT_ITS_OWN


def _count(pod: Pod, engine: Mapping[str, Any], ended: Sequence[Mapping[str, Any]]) -> int:
    """How often the engine crashed: all its runs, unless some of them were killed or may be of an earlier sandbox."""
    shown = sum(map(_crashed, ended))
    if shown < len(ended) or _status(pod, "initContainerStatuses", INIT).get("restartCount"):
        return shown
    between = "running" not in engine.get("state", {})  # the run that ended last isn't in restartCount yet
    return max(shown, int(engine.get("restartCount", 0)) + between)


def _failure(ended: Mapping[str, Any]) -> Failure:
    """The exit code, and the last error of the log's end, which FallbackToLogsOnError puts into the message."""
    errors = _ERROR.findall(str(ended.get("message", "")))
    error = hashlib.sha256(_VARYING.sub("#", errors[-1]).encode()).hexdigest()[:16] if errors else ""
    return Failure(int(ended["exitCode"]), error)
