"""The conditions of an InferenceDeployment: Ready, CacheReady, Reconciling, Stalled, Drifted and BundleMissing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tunecast_operator.conditions import Condition, ConditionType, Reason
from tunecast_operator.plan.blocked import blocked
from tunecast_operator.plan.drift import Drift
from tunecast_operator.plan.hardware import missing_condition
from tunecast_operator.plan.release import Release
from tunecast_operator.plan.rollout import Rollout
from tunecast_operator.plan.serving import ObservedServing
from tunecast_operator.plan.wanted import Wanted
from tunecast_operator.resources.quarantine import Quarantine


def conditions(
    seen: ObservedServing,
    wanted: Wanted,
    release: Release,
    rollout: Rollout,
    drift: Sequence[Drift],
    quarantine: Quarantine,
) -> tuple[Condition, ...]:
    """Returns all conditions. Drifted and BundleMissing are present only while they are True."""
    ready = _ready(seen, release, rollout)
    cache = _cache_ready(wanted) if seen.tunes else _untuned(seen, wanted, quarantine)
    reconciling = _reconciling(seen, wanted, release, ready, cache)
    stalled = Condition(ConditionType.STALLED, "False", Reason.IDLE, "")
    missing = missing_condition(wanted.cold, wanted.references if seen.tunes else [])
    return (ready, cache, reconciling, stalled, *_drifted(drift), *([missing] if missing else []))


def _ready(seen: ObservedServing, release: Release, rollout: Rollout) -> Condition:
    """Returns Ready, which stays False until the wanted revision is applied and observed."""
    if release.held:
        text = "replicas start when the StartupCache is ready or tuning gives up"
        return Condition(ConditionType.READY, "False", Reason.HELD, text)
    live = seen.deployment or {}
    status, spec = live.get("status") or {}, live.get("spec") or {}
    desired, ready = seen.desired_replicas, int(status.get("readyReplicas", 0))
    observed = status.get("observedGeneration", 0) >= live.get("metadata", {}).get("generation", 1)
    current = rollout.applied and observed and spec.get("replicas", 1) == desired
    why = blocked(seen.pods, live, seen.now)
    if live and current and ready >= desired and int(status.get("updatedReplicas", 0)) >= desired:
        return Condition(
            ConditionType.READY,
            "True",
            Reason.REPLICAS_READY,
            f"{ready} of {desired} replicas are ready{_start_counts(seen)}",
        )
    detail = f": {why.reason}: {why.message}" if why else ""
    return Condition(
        ConditionType.READY, "False", Reason.REPLICAS_NOT_READY, f"{ready} of {desired} replicas are ready{detail}"
    )


def _start_counts(seen: ObservedServing) -> str:
    if not seen.reports:
        return ""
    hits = sum(report.result == "Hit" for _, report in seen.reports)
    cold = Counter(report.reason for _, report in seen.reports if report.result == "Cold")
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(cold.items()))
    return f"; {hits} started warm" + (f", {sum(cold.values())} cold ({reasons})" if cold else "")


def _cache_ready(wanted: Wanted) -> Condition:
    found = wanted.cache.status.condition(ConditionType.READY) if wanted.cache else None
    if found is None:
        return Condition(ConditionType.CACHE_READY, "False", Reason.WAITING, f"StartupCache {wanted.name} was created")
    message = f"StartupCache {wanted.name}: {found.message}"
    if found.status == "True":
        return Condition(ConditionType.CACHE_READY, "True", found.reason, message)
    return Condition(ConditionType.CACHE_READY, "False", found.reason, message, warning=wanted.decided)


def _untuned(seen: ObservedServing, wanted: Wanted, quarantine: Quarantine) -> Condition:
    """Returns CacheReady for the policy Never, under which replicas may still use a bundle that crashes them."""
    why = "spec.tuning.policy is Never"
    manifests = {report.manifest for key, report in seen.reports if key == wanted.revision.key}
    if banned := sorted(manifests & {*quarantine.digests}):
        cause = quarantine.message(banned[0]) or "its manifest is quarantined in the trust ConfigMap"
        text = f"{why}, and the bundle of this key is not used: {cause}"
        return Condition(ConditionType.CACHE_READY, "False", Reason.QUARANTINED, text, warning=True)
    return Condition(ConditionType.CACHE_READY, "False", Reason.DISABLED, why)


def _reconciling(
    seen: ObservedServing, wanted: Wanted, release: Release, ready: Condition, cache: Condition
) -> Condition:
    if not (ready.status == "False" or release.keeps_old or (seen.tunes and not wanted.decided)):
        return Condition(ConditionType.RECONCILING, "False", Reason.IDLE, "")
    if release.keeps_old:
        message = f"the old revision serves until the new one's StartupCache is ready: {cache.message}"
        return Condition(ConditionType.RECONCILING, "True", cache.reason, message)
    if release.held:
        return Condition(ConditionType.RECONCILING, "True", cache.reason, cache.message)
    return Condition(ConditionType.RECONCILING, "True", Reason.ROLLING_OUT, ready.message)


def _drifted(found: Sequence[Drift]) -> tuple[Condition, ...]:
    if not found:
        return ()
    return (Condition(ConditionType.DRIFTED, "True", found[0].reason, "; ".join(map(str, found)), warning=True),)
