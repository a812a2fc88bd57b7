"""The workloads behind adopted pods of one key, counted by how their pods started."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunecast_core.records.report import InitReport
from tunecast_operator.api.status import WorkloadStatus
from tunecast_operator.pods import Pod, init_report

LISTED = 64  # workloads that status names


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """The topmost owner of a pod; the pod itself where it has none."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class UsingPod:
    """An adopted pod with the key of a StartupCache."""

    pod: Pod
    owner: Workload
    injected: bool

    @property
    def report(self) -> InitReport | None:
        """What its init container reported; None before that, and where it has none."""
        return init_report(self.pod) if self.injected else None


def usage(pods: Iterable[UsingPod]) -> list[WorkloadStatus]:
    """Counts pods by workload, at most 64 workloads of them."""
    by_owner: dict[Workload, list[UsingPod]] = defaultdict(list)
    for one in pods:
        by_owner[one.owner].append(one)
    return [_workload(owner, by_owner[owner]) for owner in sorted(by_owner)[:LISTED]]


def _workload(owner: Workload, pods: Sequence[UsingPod]) -> WorkloadStatus:
    reports = [one.report for one in pods if one.report]
    hits = sum(report.result == "Hit" for report in reports)
    return WorkloadStatus(
        kind=owner.kind,
        name=owner.name,
        pods=len(pods),
        hits=hits,
        cold=len(reports) - hits,
        not_injected=sum(not one.injected for one in pods),
    )
