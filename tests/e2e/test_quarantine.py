"""Quarantine of a bundle: after two crashes of engines, replicas start cold without a rollout."""

from __future__ import annotations

import pytest

from e2e.steps import cache_of, init_report, our_events, serving_pods, until_cache, until_ready
from e2e.world import World
from harness.kubectl import wait_for

pytestmark = pytest.mark.e2e


def test_a_bundle_that_engines_crash_from_is_left_without_a_rollout(world: World, crashing: str) -> None:
    kubectl = world.kubectl
    quarantined = until_cache(kubectl, "tiny", crashing, {"Quarantined"}, 180)
    assert "engines crashed as they started from this bundle" in quarantined["message"]
    until_ready(kubectl, "tiny", crashing, 120)
    reports = [init_report(pod) for pod in serving_pods(kubectl, "tiny", crashing)]
    assert [(report["result"], report["reason"]) for report in reports] == [("Cold", "Quarantined")] * 2
    assert len(kubectl.items("replicasets", "-n", crashing)) == 1
    first = cache_of(kubectl, "tiny", crashing)
    assert first["status"]["state"] == "Quarantined"
    assert ("StartupCache", first["metadata"]["name"], "Quarantined") in our_events(kubectl, crashing)


def test_another_generation_ends_the_quarantine(world: World, crashing: str) -> None:
    kubectl = world.kubectl
    first = cache_of(kubectl, "tiny", crashing)["metadata"]["name"]
    kubectl("patch", "infd/tiny", "-n", crashing, "--type=merge", "-p", '{"spec": {"tuning": {"generation": 2}}}')

    def published() -> bool:
        others = {name for kind, name, reason in our_events(kubectl, crashing) if reason == "Published"} - {first}
        return any(name != "tiny" for name in others)

    wait_for(published, "a bundle of the new generation is published", 120)
    kubectl("delete", "namespace", crashing, "--wait=false")
