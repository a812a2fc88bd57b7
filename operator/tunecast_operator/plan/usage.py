"""What adopted pods add to the plan of a StartupCache: who uses it, and which pods run without its bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tunecast_core.records.report import NO_MANIFEST, NO_TRUST
from tunecast_operator import times
from tunecast_operator.api.status import StartupCacheStatus, State, WorkloadStatus
from tunecast_operator.conditions import Condition, ConditionType, Reason
from tunecast_operator.plan.tuning import ObservedTuning, TuningPlan
from tunecast_operator.plan.workloads import UsingPod, usage

# The first pods of a namespace may start before the operator has written its trust ConfigMap.
_BEFORE = {NO_MANIFEST, NO_TRUST}
_REPLACE = "New pods start warm: replace these when it suits, such as by kubectl rollout restart"


def with_usage(seen: ObservedTuning, plan: TuningPlan) -> TuningPlan:
    """Adds it to a plan that writes status."""
    if not plan.conditions:
        return plan
    left = seen.unused_seconds_left
    since = seen.status.unused_since or times.text(seen.now)
    used_by = usage(seen.adopted)
    status = plan.status | StartupCacheStatus(
        used_by=used_by or None,
        users=users(plan.status.referred_by, used_by),
        unused_since=since if left > 0 else None,
    )
    missed = missed_condition(seen.adopted, ready=plan.status.state == State.READY)
    conditions = (*plan.conditions, *([missed] if missed else ()))
    requeue = plan.requeue_seconds if left <= 0 else min(left, plan.requeue_seconds or left)
    return replace(plan, status=status, conditions=conditions, requeue_seconds=requeue)


def users(referred_by: Sequence[str], used_by: Sequence[WorkloadStatus]) -> str | None:
    """Returns the first user and the number of the others; None if there are no users."""
    names = [*(f"InferenceDeployment {name}" for name in referred_by), *(f"{one.kind} {one.name}" for one in used_by)]
    if not names:
        return None
    first, *others = names
    if not others:
        return first
    return f"{first} and 1 other" if len(others) == 1 else f"{first} and {len(others)} others"


def missed_condition(pods: Iterable[UsingPod], *, ready: bool) -> Condition | None:
    """The condition about pods that run without the bundle that they could have; None where there are none."""
    found = list(pods)
    away = [one for one in found if not one.injected]
    if away:
        text = f"pods were created without the init container and start cold: {_counted(away)}. {_REPLACE}"
        return Condition(ConditionType.PODS_MISSED, "True", Reason.NOT_INJECTED, text, warning=True)
    early = [one for one in found if one.report and one.report.reason in _BEFORE]
    if ready and early:
        text = f"pods started before the bundle was published: {_counted(early)}. {_REPLACE}"
        return Condition(ConditionType.PODS_MISSED, "True", Reason.STARTED_BEFORE, text)
    return None


def _counted(pods: Iterable[UsingPod]) -> str:
    counts = Counter(one.owner for one in pods)
    return ", ".join(f"{count} of {owner}" for owner, count in sorted(counts.items())[:10])
