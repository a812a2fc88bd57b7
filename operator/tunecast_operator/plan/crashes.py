"""Engines that crash as they start from a bundle: twice, and it is the bundle that is blamed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tunecast_operator import times
from tunecast_operator.plan.reports import Pod, init_runs
from tunecast_operator.resources.pod import ENGINE

LIMIT = 2  # crashes, of one replica or of several
STARTING = timedelta(minutes=15)  # an engine that ran for longer had started
KILLED = {137, 143}  # by SIGKILL and SIGTERM: memory, a probe, a drain
NOT_ITS_OWN = {"OOMKilled", "ContainerStatusUnknown"}


@dataclass(frozen=True, slots=True)
class Crash:
    """A replica whose engine crashed as it started, so often, after its init container said Hit."""

    pod: str
    uid: str
    manifest: str  # digest of what it started from
    times: int
    exit_code: int

    def __str__(self) -> str:
        return f"{self.pod} ended with {self.exit_code}" + (f", {self.times} times" if self.times > 1 else "")


def crashes(pods: Iterable[Pod]) -> list[Crash]:
    """Of replicas that haven't started since: one that did shows that it can."""
    return [crash for pod in pods if (crash := _crash(pod))]


def to_blame(found: Iterable[Crash], manifest: str) -> str:
    """Why the bundle is to be quarantined; empty while it isn't."""
    ours = [crash for crash in found if crash.manifest == manifest]
    if sum(crash.times for crash in ours) < LIMIT:
        return ""
    return f"engines crashed as they started from this bundle: {'; '.join(str(crash) for crash in ours[:3])}"


def _crash(pod: Pod) -> Crash | None:
    run = next(iter(init_runs([pod]).values()), None)
    statuses = pod.get("status", {}).get("containerStatuses", ())
    engine: Mapping[str, Any] = next((s for s in statuses if s["name"] == ENGINE), {})
    if run is None or run[1].result != "Hit" or engine.get("ready") or _ends(pod):
        return None
    state = engine.get("state", {})
    ended = state.get("terminated") or engine.get("lastState", {}).get("terminated") or {}
    if not _crashed(ended):
        return None
    between = "terminated" in state or "waiting" in state  # the run that ended last isn't in restartCount yet
    young = times.parse(ended["finishedAt"]) - times.parse(run[0]) <= STARTING  # so that no run of it had started
    count = int(engine.get("restartCount", 0)) + between if young else 1
    metadata = pod["metadata"]
    return Crash(metadata["name"], metadata["uid"], run[1].manifest, count, int(ended["exitCode"]))


def _ends(pod: Pod) -> bool:
    """Somebody ends it: what its engine says then tells nothing of the bundle."""
    status = pod.get("status", {})
    disrupted = any(condition["type"] == "DisruptionTarget" for condition in status.get("conditions", ()))
    over = status.get("phase") in {"Succeeded", "Failed"} or bool(status.get("reason"))
    return disrupted or over or bool(pod["metadata"].get("deletionTimestamp"))


def _crashed(ended: Mapping[str, Any]) -> bool:
    """By itself, not by the kernel or the kubelet, and before it had started."""
    if not ended.get("exitCode") or ended["exitCode"] in KILLED or ended.get("reason") in NOT_ITS_OWN:
        return False
    began, over = str(ended.get("startedAt") or ""), str(ended.get("finishedAt") or "")
    return bool(began and over) and times.parse(over) - times.parse(began) <= STARTING
