"""Engines that crash as they start from a bundle: twice, and it is the bundle that is blamed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tunecast_operator import times
from tunecast_operator.plan.reports import Pod, init_report
from tunecast_operator.resources.pod import ENGINE

LIMIT = 2  # crashes, of one replica or of several
STARTING = timedelta(minutes=15)  # an engine that ran for longer had started


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
    report = init_report(pod)
    statuses = pod.get("status", {}).get("containerStatuses", ())
    engine: Mapping[str, Any] = next((s for s in statuses if s["name"] == ENGINE), {})
    if report is None or report.result != "Hit" or engine.get("ready"):
        return None
    now = engine.get("state", {}).get("terminated")
    ended = now or engine.get("lastState", {}).get("terminated") or {}
    count = int(engine.get("restartCount", 0)) + bool(now)
    if not count or not _crashed(ended):
        return None
    metadata = pod["metadata"]
    return Crash(metadata["name"], metadata["uid"], report.manifest, count, int(ended["exitCode"]))


def _crashed(ended: Mapping[str, Any]) -> bool:
    """Not where the kernel or the kubelet ended it, and not where it had started."""
    if not ended.get("exitCode") or ended.get("reason") == "OOMKilled":
        return False
    began, over = ended.get("startedAt"), ended.get("finishedAt")
    return not (began and over) or times.parse(over) - times.parse(began) <= STARTING
