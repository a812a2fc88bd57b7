"""Builds the status of an InferenceDeployment, apart from its conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tunecast_core.hardware import UNKNOWN
from tunecast_core.records.report import InitReport
from tunecast_operator.api.status import (
    DriftStatus,
    InferenceDeploymentStatus,
    InitReports,
    ReasonCount,
    Rendered,
    ReplicaStart,
    State,
)
from tunecast_operator.plan.drift import Drift
from tunecast_operator.plan.serving import ObservedServing
from tunecast_operator.plan.wanted import Wanted
from tunecast_operator.resources.replica import selector
from tunecast_operator.resources.revision import Revision


def status(seen: ObservedServing, wanted: Wanted, shown: Revision, drift: Sequence[Drift]) -> InferenceDeploymentStatus:
    """Returns the status. The Deployment has the revision ``shown``, or is about to have it."""
    live = (seen.deployment or {}).get("status") or {}
    return InferenceDeploymentStatus(
        replicas=live.get("replicas", 0),
        ready_replicas=live.get("readyReplicas", 0),
        desired_replicas=seen.desired_replicas,
        selector=",".join(f"{name}={value}" for name, value in selector(seen.name).items()),
        cache=_column(seen, wanted),
        key=wanted.revision.key,
        model=seen.engine.line.model,
        rendered=Rendered(
            key=shown.key,
            key_version=shown.key_version,
            init_image=shown.init_image,
            spec_digest=shown.spec,
            environment=shown.environment,
        ),
        startup_caches=wanted.references if seen.tunes else None,
        notes=list(seen.engine.notes) or None,
        cold=wanted.cache.status.cold if wanted.cache else None,
        warm=wanted.cache.status.warm if wanted.cache else None,
        drift=[DriftStatus(what=d.what, expected=d.expected, found=d.found, replicas=d.replicas) for d in drift]
        or None,
        init_reports=_init_reports([report for _, report in seen.reports]),
    )


def _column(seen: ObservedServing, wanted: Wanted) -> ReplicaStart:
    """Returns the start that a new replica gets, which is Cold if every replica started cold."""
    if wanted.state == State.READY:
        results = [report.result for key, report in seen.reports if key == wanted.revision.key]
        return ReplicaStart.COLD if results and "Hit" not in results else ReplicaStart.HIT
    if wanted.state == State.FAILED:
        return ReplicaStart.FAILED
    if wanted.state in {State.INEFFECTIVE, State.QUARANTINED} or not seen.tunes or wanted.decided:
        return ReplicaStart.COLD
    return ReplicaStart.TUNING


def _init_reports(reports: Sequence[InitReport]) -> InitReports | None:
    if not reports:
        return None
    counts = Counter(report.reason for report in reports)
    cold = [report.message for report in reports if report.result == "Cold"]
    return InitReports(
        counts=[ReasonCount(reason=reason, count=count) for reason, count in sorted(counts.items())],
        last_message=min(cold, default=None),
        unknown_hardware=sum(report.hardware == UNKNOWN for report in reports) or None,
    )
