"""Slots that workers take at the same time, and who is enqueued when one is free."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from support.listed import ListedCaches, now
from support.objects import NOW
from tunecast_operator import times
from tunecast_operator.plan.slots import Queued, SlotLimits
from tunecast_operator.runtime.cluster import ConflictError
from tunecast_operator.runtime.startup_caches import StartupCaches
from tunecast_operator.runtime.tuning_slots import TuningSlots


@dataclass
class World:
    """Slots whose API server has the StartupCaches that a test puts there."""

    limits: SlotLimits = field(default_factory=lambda: SlotLimits(1))
    enqueued: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cluster = ListedCaches()
        self.caches = StartupCaches(self.cluster)
        self.slots = TuningSlots(self.caches, self.limits, now, lambda _, name: self.enqueued.append(name))

    def put(self, name: str, reason: str = "Queued", **status: Any) -> None:
        condition = {"type": "Ready", "status": "False", "reason": reason, "lastTransitionTime": times.text(NOW)}
        created = f"2026-11-23T11:00:0{name[-1]}Z"
        self.cluster.put("models", name, created, {"conditions": [condition], **status})
        self.caches.refresh()

    def take(self, name: str) -> Queued | None:
        (found,) = [cache for cache in self.caches.list() if cache.name == name]
        return self.slots.take(found)


@pytest.fixture
def world() -> World:
    return World()


def test_of_workers_that_ask_at_the_same_time_one_gets_the_slot(world: World) -> None:
    names = [f"kc-{n}" for n in range(8)]
    for name in names:
        world.put(name)
    with ThreadPoolExecutor(8) as pool:
        taken = [*pool.map(world.take, names)]
    assert [position.running for position in taken if position] == [1] * 7


def test_a_slot_stays_reserved_until_the_watch_shows_who_holds_it(world: World) -> None:
    world.put("kc-1")
    world.put("kc-2")
    assert world.take("kc-1") is None
    assert world.take("kc-1") is None, "after a conflict, it asks again"
    assert world.take("kc-2") == Queued(1, 1, 1)
    world.put("kc-1", "Tuning", job="kc-1-1")
    assert world.take("kc-2") == Queued(1, 1, 1)
    world.put("kc-1", "Published", state="Ready")
    assert world.take("kc-2") is None


def test_a_slot_that_was_not_used_is_free_again_at_once(world: World) -> None:
    world.put("kc-1")
    world.put("kc-2", queuePosition=1)
    assert world.take("kc-1") is None
    world.slots.release("models", "kc-1")
    assert world.enqueued == ["kc-2"]
    assert world.take("kc-2") is None
    world.slots.release("models", "kc-1")
    assert world.enqueued == ["kc-2"], "it held none any more"


def test_a_restarted_operator_knows_from_status_who_tunes(world: World) -> None:
    world.put("kc-1", "Tuning", job="kc-1-1")
    world.put("kc-2")
    restarted = TuningSlots(world.caches, SlotLimits(1), now, lambda _namespace, _name: None)
    (waiting,) = [cache for cache in world.caches.list() if cache.name == "kc-2"]
    assert restarted.take(waiting) == Queued(1, 1, 1)


def test_nobody_begins_before_the_startup_caches_are_known(world: World) -> None:
    world.put("kc-1")
    (waiting,) = world.caches.list()
    fresh = TuningSlots(StartupCaches(world.cluster), SlotLimits(1), now, lambda _namespace, _name: None)
    with pytest.raises(ConflictError, match="still being listed"):
        fresh.take(waiting)
    unlimited = TuningSlots(StartupCaches(world.cluster), SlotLimits(), now, lambda _namespace, _name: None)
    assert unlimited.take(waiting) is None


@pytest.mark.parametrize(
    ("changes", "enqueued"),
    [
        ({"reason": "Published", "state": "Ready"}, ["kc-3", "kc-2"]),
        ({"reason": "Failed", "state": "Failed"}, ["kc-3", "kc-2"]),
        ({"reason": "Queued", "requeues": 1}, ["kc-3", "kc-2"]),
        ({"reason": "Retrying"}, []),
        ({"reason": "Publishing", "job": "kc-1-1"}, []),
        (None, ["kc-3", "kc-2"]),
    ],
    ids=["ready", "failed", "without room", "pausing after a failure", "still under way", "deleted"],
)
def test_those_that_wait_are_enqueued_when_a_tuning_ends(
    world: World, changes: dict[str, Any] | None, enqueued: list[str]
) -> None:
    world.put("kc-1", "Tuning", job="kc-1-1")
    world.put("kc-2", queuePosition=2)
    world.put("kc-3", queuePosition=1)
    world.put("kc-4", "StoreUnavailable")
    if changes is None:
        del world.cluster.items["models", "kc-1"]
        world.caches.refresh()
    else:
        world.put("kc-1", **changes)
    assert world.enqueued == enqueued


def test_those_behind_move_up_when_the_next_one_begins(world: World) -> None:
    world.put("kc-1", queuePosition=1)
    world.put("kc-2", queuePosition=2)
    world.put("kc-1", "Tuning", job="kc-1-1")
    assert world.enqueued == ["kc-2"]
    world.put("kc-2", queuePosition=1)
    assert world.enqueued == ["kc-2"], "a new position is no turn of anybody else"


def test_pod_templates_and_proofs_are_not_kept_in_memory(world: World) -> None:
    world.put("kc-1", "Tuning", job="kc-1-1", proof={"mode": "Peer"}, referredBy=["qwen3"])
    (found,) = world.caches.list()
    assert found.status.model_fields_set == {"conditions", "job"}


def test_a_key_is_known_while_a_startup_cache_has_it(world: World) -> None:
    world.put("kc-1")
    world.put("kc-1", "Tuning")
    assert world.caches.has_key("models", "a" * 52)
    assert not world.caches.has_key("other", "a" * 52)
    world.cluster.items.clear()
    world.caches.refresh()
    assert not world.caches.has_key("models", "a" * 52)
