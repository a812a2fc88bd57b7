"""Staging is listed rarely for deleted StartupCaches. Cluster and store are lists here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from support.objects import NOW
from tunecast_core.errors import StoreUnavailableError
from tunecast_operator.reconcile.orphans import SWEEP_PERIOD, Orphans
from tunecast_operator.runtime.cluster import Cluster
from tunecast_operator.runtime.controller import GONE
from tunecast_operator.runtime.publisher import Publisher


def cache(name: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "models", "name": name, "uid": f"{name}-uid"}, "spec": {"key": f"{name}-key"}}


class World:
    def __init__(self) -> None:
        self.now = NOW
        self.living: list[dict[str, Any]] = []
        self.prefixes: list[tuple[str, str]] = []  # prefixes of single StartupCaches that were listed
        self.sweeps: list[set[str]] = []  # the UIDs whose objects must stay
        self.down = False
        self.orphans = Orphans(cast("Cluster", self), cast("Publisher", self), lambda: self.now)

    def list(self, *_: Any) -> list[dict[str, Any]]:
        return self.living

    def clean_all(self, _namespace: str, key: str, uid: str) -> None:
        self.prefixes.append((key, uid))

    def clean_orphans(self, _namespace: str, living: set[str]) -> None:
        if self.down:
            raise StoreUnavailableError("down")
        self.sweeps.append(living)


@pytest.fixture
def world() -> World:
    return World()


def test_each_event_about_a_known_one_lists_its_own_prefix_and_the_namespace_is_swept_once(world: World) -> None:
    world.living = [cache("other")]
    world.orphans.exists(cache("kc"))
    world.now += timedelta(minutes=1)
    for _ in range(30):
        assert world.orphans.clean("models", "kc") == GONE
    assert world.prefixes[0] == ("kc-key", "kc-uid")
    assert world.sweeps == [{"other-uid"}]


def test_many_that_are_deleted_at_once_sweep_the_namespace_once(world: World) -> None:
    names = [f"kc-{number}" for number in range(50)]
    for name in names:
        world.orphans.exists(cache(name))
    for name in names:
        world.orphans.clean("models", name)
    assert len(world.sweeps) == 1


def test_one_that_was_never_seen_waits_for_the_next_sweep(world: World) -> None:
    """It was deleted while no operator ran, and its ranks may still run."""
    assert world.orphans.clean("models", "unknown") == GONE
    world.now += timedelta(minutes=10)
    assert world.orphans.clean("models", "unknown") == (SWEEP_PERIOD - timedelta(minutes=10)).total_seconds()
    world.now += SWEEP_PERIOD
    assert world.orphans.clean("models", "unknown") == GONE
    assert len(world.sweeps) == 2
    assert world.prefixes == []


def test_namespaces_are_swept_each_for_itself(world: World) -> None:
    for namespace in ("models", "others"):
        world.orphans.clean(namespace, "unknown")
    assert len(world.sweeps) == 2


def test_a_sweep_that_failed_is_due_again(world: World) -> None:
    world.down = True
    with pytest.raises(StoreUnavailableError):
        world.orphans.clean("models", "unknown")
    world.down = False
    world.orphans.clean("models", "unknown")
    assert len(world.sweeps) == 1


def test_a_sweep_forgets_who_was_not_seen_for_long(world: World) -> None:
    for name in ("kc", "other"):
        world.orphans.exists(cache(name))
    world.now += SWEEP_PERIOD + timedelta(minutes=1)
    world.orphans.exists(cache("other"))
    world.orphans.clean("models", "unknown")
    assert [name for _, name in world.orphans._known] == ["other"]
