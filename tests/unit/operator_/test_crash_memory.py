"""Crashes of pods that are gone are remembered for a while."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from support.objects import serving_pod
from tunecast_operator.plan.crashes import Crash, crashes
from tunecast_operator.plan.quarantine import judge
from tunecast_operator.pods import Pod
from tunecast_operator.reconcile.crash_memory import CrashMemory
from tunecast_operator.resources.quarantine import Quarantine

MANIFEST = "m" * 64
CRASHED = {"state": {"terminated": {"exitCode": 139, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "x"}}}


class World:
    """A memory, and a clock that the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=timezone.utc)
        self.memory = CrashMemory(lambda: self.now)

    def see(self, *pods: Pod, namespace: str = "models", key: str = "key") -> list[Crash]:
        return self.memory.with_gone(namespace, key, pods, crashes(pods))


def crashed(name: str) -> Pod:
    return serving_pod(name, MANIFEST, CRASHED)


def test_pods_that_are_replaced_after_one_crash_quarantine_their_bundle() -> None:
    world = World()
    assert judge(Quarantine(), world.see(crashed("first"))).digests == ()
    assert world.see() == crashes([crashed("first")])
    assert judge(Quarantine(), world.see(crashed("second"))).digests == (MANIFEST,)


def test_a_pod_that_exists_counts_once() -> None:
    world = World()
    assert world.see(crashed("first")) == world.see(crashed("first")) == crashes([crashed("first")])


def test_a_pod_that_recovered_is_forgotten() -> None:
    world = World()
    world.see(crashed("first"))
    assert world.see(serving_pod("first", MANIFEST, {"state": {"running": {}}, "ready": True})) == []
    assert world.see() == []


@pytest.mark.parametrize(("minutes", "count"), [(59, 1), (61, 0)])
def test_a_crash_is_forgotten_after_an_hour(minutes: int, count: int) -> None:
    world = World()
    world.see(crashed("first"))
    world.now += timedelta(minutes=minutes)
    assert len(world.see()) == count


def test_other_namespaces_and_keys_have_their_own_crashes() -> None:
    world = World()
    world.see(crashed("first"))
    assert world.see(namespace="others") == world.see(key="other") == []


def test_crashes_of_pods_that_somebody_else_reconciles_are_not_kept() -> None:
    world, found = World(), crashes([crashed("of-an-inference-deployment")])
    assert world.memory.with_gone("models", "key", [], found) == found
    assert world.see() == []
