"""Crashes of replicas, and their effect on the bundle and on the InferenceDeployment."""

from __future__ import annotations

from typing import Any

from support.objects import (
    inference_deployment,
    key_in,
    serving_pod,
)
from support.serving import INIT, OWNER, PYCACHE, condition, observed, serving, startup_cache
from tunecast_operator.plan.crashes import crashes
from tunecast_operator.plan.inference_deployment import decide
from tunecast_operator.plan.serving import ServingPlan
from tunecast_operator.pods import init_report
from tunecast_operator.resources.quarantine import Case, Failure, Quarantine

CRASHED: dict[str, Any] = {
    "state": {
        "terminated": {"exitCode": 139, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:01:00Z"}
    },
}
MANIFEST = "m" * 64


def judged(pods: list[Any], *others: Any, cache: Any = None, owner: Any = OWNER, **changes: Any) -> ServingPlan:
    """Returns the plan for ``pods``; ``others`` belong to other InferenceDeployments with the same key."""
    for pod in (*pods, *others):
        pod["metadata"]["labels"] = {"tunecast.io/key": key_in(owner)}
    reports = [(key_in(owner), report) for pod in pods if (report := init_report(pod))]
    caches = [cache] if cache else []
    found = crashes([*pods, *others])
    seen = observed(owner, *caches, live=serving(**PYCACHE), pods=pods, reports=reports, crashes=found, **changes)
    return decide(seen, INIT, 1)


def test_two_crashes_quarantine_a_bundle_and_nothing_rolls() -> None:
    """The crashes may be of two owners' replicas; only this owner's are replaced."""
    cache = startup_cache(OWNER, "Ready", "Published", manifest=MANIFEST, environment=PYCACHE)
    pods = [
        serving_pod("a", MANIFEST, CRASHED),
        serving_pod("b", MANIFEST, {"ready": True}),
        serving_pod("c", "", CRASHED),
    ]
    after = judged(pods, serving_pod("other", MANIFEST, CRASHED), cache=cache)
    assert after.protection.quarantine.digests == (MANIFEST,)
    assert after.protection.outdated_caches == (cache.name,)
    assert [crash.pod for crash in after.protection.replace] == ["a"]
    assert after.apply_deployment is not None
    assert after.apply_deployment["spec"]["template"] == serving(**PYCACHE)["spec"]["template"]


def test_one_crash_quarantines_nothing() -> None:
    after = judged([serving_pod("a", MANIFEST, CRASHED)])
    assert (after.protection.quarantine, after.protection.replace) == (Quarantine(), ())


def test_a_quarantined_cache_is_reported() -> None:
    cache = startup_cache(OWNER, "Quarantined", "Quarantined", manifest=MANIFEST)
    after = judged([], cache=cache, quarantine=Quarantine((MANIFEST,)))
    assert after.status.cache == "Cold"
    assert (condition(after, "CacheReady").reason, condition(after, "CacheReady").warning) == ("Quarantined", True)


def test_a_replica_without_the_bundle_that_crashes_the_same_way_lifts_it_and_stays() -> None:
    cache = startup_cache(OWNER, "Quarantined", "Quarantined", manifest=MANIFEST)
    known = Quarantine((MANIFEST,), {MANIFEST: Case("they crashed", (Failure(139),))})
    after = judged([serving_pod("a", MANIFEST, CRASHED, cold="Quarantined")], cache=cache, quarantine=known)
    assert after.protection.quarantine.lifted(MANIFEST)
    assert after.protection.outdated_caches == (cache.name,)
    assert after.protection.replace == ()


def test_a_bundle_without_a_startup_cache_is_quarantined_and_reported() -> None:
    """With the policy Never, replicas use the bundle of their key whoever had it tuned."""
    owner = inference_deployment(replicas=2, tuning={"policy": "Never"})
    pods = [serving_pod(name, MANIFEST, CRASHED) for name in ("a", "b")]
    after = judged(pods, owner=owner)
    assert [crash.pod for crash in after.protection.replace] == ["a", "b"]
    reported = condition(after, "CacheReady")
    assert (reported.status, reported.reason, reported.warning) == ("False", "Quarantined", True)
    assert "spec.tuning.policy is Never" in reported.message
    assert "a ended with 139; b ended with 139" in reported.message
    cold = [serving_pod("c", MANIFEST, {"ready": True}, cold="Quarantined")]
    later = judged(cold, owner=owner, quarantine=after.protection.quarantine)
    assert condition(later, "CacheReady") == reported
    assert condition(judged([], owner=owner), "CacheReady").reason == "TuningDisabled"
