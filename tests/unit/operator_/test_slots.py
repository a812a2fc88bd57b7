"""How many StartupCaches tune at the same time, and which one is next."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tunecast_operator import times
from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import StartupCacheStatus
from tunecast_operator.plan.slots import Queued, SlotLimits, Standing, ordinal, queued, standing, waited_for

NOW = datetime(2026, 11, 28, 10, tzinfo=timezone.utc)


def cache(name: str, reason: str = "Queued", namespace: str = "models", **status: Any) -> StartupCache:
    """Returns a StartupCache that is as old as the number at the end of its name is small."""
    conditions = [{"type": "Ready", "status": "False", "reason": reason, "lastTransitionTime": times.text(NOW)}]
    found = StartupCacheStatus.model_validate({"state": "Pending", "conditions": conditions, **status})
    created = times.text(NOW - timedelta(hours=1) + timedelta(seconds=int(name.rpartition("-")[2])))
    return StartupCache(name, "key", created, deleting=False, status=found, namespace=namespace)


def running(name: str, namespace: str = "models") -> StartupCache:
    return cache(name, "Tuning", namespace, state="Tuning", job=f"{name}-1")


def waiting(name: str, namespace: str = "models", **status: Any) -> StartupCache:
    return cache(name, namespace=namespace, queuePosition=1, **status)


def new(name: str, seconds: float, namespace: str = "models") -> StartupCache:
    created = times.text(NOW - timedelta(seconds=seconds))
    return replace(cache(name, namespace=namespace), created=created, status=StartupCacheStatus())


ME = cache("kc-5")
IN_NAMESPACE = (
    "1 tuning runs already in namespace models, and tuning.maxConcurrentPerNamespace is 1: this one is 1st in the"
    " namespace's queue"
)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (running("kc-1"), Standing.HOLDS),
        (cache("kc-1", "Publishing", state="Publishing", job="kc-1-1"), Standing.HOLDS),
        (cache("kc-1", "QueueTimeout", job="kc-1-1"), Standing.HOLDS),
        (cache("kc-1", "Retrying", nextAttemptAt="2026-11-28T10:00:05Z"), Standing.HOLDS),
        (cache("kc-1", "Queued", nextAttemptAt="2026-11-28T10:00:40Z", requeues=1), Standing.NONE),
        (waiting("kc-1"), Standing.WAITS),
        (new("kc-1", 1), Standing.WAITS),
        (cache("kc-1", "StoreUnavailable"), Standing.NONE),
        (cache("kc-1"), Standing.NONE),
        (cache("kc-1", "Published", state="Ready"), Standing.NONE),
        (replace(running("kc-1"), deleting=True), Standing.NONE),
    ],
    ids=[
        "its ranks run",
        "it publishes",
        "its ranks wait for room in the cluster",
        "it pauses after a failed attempt",
        "it pauses since its ranks found no room",
        "it is in the queue",
        "it has no status yet",
        "a step of it fails",
        "it waits for another one of its key",
        "it is ready",
        "it is being deleted",
    ],
)
def test_standing_of_a_startup_cache_follows_from_its_status(found: StartupCache, expected: Standing) -> None:
    assert standing(found) == expected


@pytest.mark.parametrize(
    ("limits", "others", "expected"),
    [
        (SlotLimits(1), [], None),
        (SlotLimits(2), [running("kc-9")], None),
        (SlotLimits(1), [running("kc-9")], Queued(1, 1, 1)),
        (SlotLimits(1), [running("kc-9", "other")], Queued(1, 1, 1)),
        (SlotLimits(1), [running("kc-9"), waiting("kc-1"), waiting("kc-6")], Queued(2, 1, 1)),
        (SlotLimits(1), [waiting("kc-1")], Queued(1, 1, 1)),
        (SlotLimits(2), [waiting("kc-1")], None),
        (SlotLimits(1), [waiting("kc-6")], None),
        (SlotLimits(1), [waiting("kc-1", requeues=1)], None),
        (SlotLimits(1), [new("kc-1", 59)], None),
        (SlotLimits(1), [new("kc-1", 3601)], None),
        (SlotLimits(1), [cache("kc-1", "BadSweep")], None),
        (SlotLimits(1), [running("kc-8"), running("kc-9")], Queued(1, 2, 1)),
        (SlotLimits(0, 1), [running("kc-9", "other")], None),
        (SlotLimits(0, 1), [running("kc-9")], Queued(1, 1, 1, "models")),
        (SlotLimits(0, 1), [running("kc-9"), waiting("kc-1", "other")], Queued(1, 1, 1, "models")),
        (SlotLimits(2, 1), [running("kc-9", "other"), waiting("kc-1", "other")], None),
        (SlotLimits(2, 1), [running("kc-8", "a"), running("kc-9", "b"), waiting("kc-1", "a")], Queued(1, 2, 2)),
        (SlotLimits(2, 2), [running("kc-8"), running("kc-9"), waiting("kc-1")], Queued(2, 2, 2, "models")),
    ],
    ids=[
        "alone",
        "one slot is left",
        "no slot is left",
        "namespaces share the slots",
        "an older one is ahead, a younger one is not",
        "the free slot is for an older one",
        "there is a slot for both",
        "the free slot is not for a younger one",
        "one whose ranks found no room goes behind",
        "a younger one without a status is not ahead",
        "an old one whose status can not be written is not waited for",
        "one whose steps fail is not waited for",
        "more tune than may, after the limit was lowered",
        "the limit of a namespace is its own",
        "the namespace has no slot left",
        "other namespaces are not in its queue",
        "one that its namespace's limit keeps back is passed",
        "and has no position in the queue of all",
        "the limit of the namespace is named first",
    ],
)
def test_the_oldest_tune_first(limits: SlotLimits, others: list[StartupCache], expected: Queued | None) -> None:
    assert queued(ME, [ME, *others], limits, NOW) == expected


def test_one_that_was_created_a_moment_before_goes_first_before_it_has_a_status() -> None:
    me = replace(ME, created=times.text(NOW - timedelta(seconds=1)))
    assert queued(me, [me, new("kc-1", 2)], SlotLimits(1), NOW) == Queued(1, 1, 1)


def test_a_reserved_slot_is_taken() -> None:
    assert queued(ME, [ME, cache("kc-9")], SlotLimits(1), NOW, {("models", "kc-9")}) == Queued(1, 1, 1)
    assert queued(ME, [ME], SlotLimits(1), NOW, {("models", "kc-gone")}) == Queued(1, 1, 1)
    assert queued(ME, [ME, running("kc-9")], SlotLimits(1), NOW, {("models", "kc-5")}) is None


def test_one_that_pauses_after_a_failure_goes_on() -> None:
    again = cache("kc-5", "Retrying", nextAttemptAt=times.text(NOW))
    assert queued(again, [again, running("kc-1"), waiting("kc-2")], SlotLimits(1), NOW) is None


@pytest.mark.parametrize(
    ("limits", "others", "expected"),
    [
        (SlotLimits(1), [waiting("kc-9")], True),
        (SlotLimits(1), [], False),
        (SlotLimits(1), [cache("kc-9", "BadSweep")], False),
        (SlotLimits(1), [running("kc-8"), waiting("kc-9")], False),
        (SlotLimits(1, 1), [waiting("kc-9", "other"), running("kc-8", "other")], False),
    ],
    ids=["one waits", "none waits", "one can not begin", "more tune than may", "its own namespace keeps it back"],
)
def test_a_slot_is_waited_for_if_another_one_would_use_it(
    limits: SlotLimits, others: list[StartupCache], expected: bool
) -> None:
    assert waited_for(running("kc-5"), [running("kc-5"), *others], limits, NOW) is expected


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (Queued(2, 3, 3), "3 tunings run already, and tuning.maxConcurrent is 3: this one is 2nd in the queue"),
        (Queued(1, 1, 1, "models"), IN_NAMESPACE),
    ],
)
def test_the_message_names_limit_and_position(position: Queued, text: str) -> None:
    assert str(position) == text


def test_positions_are_written_as_in_english() -> None:
    numbers = [1, 2, 3, 4, 11, 12, 13, 21, 22, 103, 111]
    expected = "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 103rd 111th"
    assert " ".join(map(ordinal, numbers)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_of_events_all_tune_and_never_more_than_may(seed: int) -> None:
    """Reconciles StartupCaches of three namespaces in random order, while tunings end and fail at random."""
    chance = random.Random(seed)
    limits = SlotLimits(chance.randint(1, 3), chance.choice([0, 1, 2]))
    known = {f"kc-{n}": new(f"kc-{n}", 30 - n, chance.choice("abc")) for n in range(1, 20)}
    done: set[str] = set()
    for _ in range(10_000):
        if len(done) == len(known):
            break
        name = chance.choice(sorted(known.keys() - done))
        one = known[name]
        if one.status.job:
            end = chance.choice(["Published", "Failed", "Retrying", "Queued", "Tuning"])
            if end == "Tuning":
                continue
            requeues = (one.status.requeues or 0) + (end == "Queued")
            known[name] = replace(cache(name, end, requeues=requeues), namespace=one.namespace, created=one.created)
            done |= {name} if end in {"Published", "Failed"} else set()
            continue
        position = queued(one, known.values(), limits, NOW)
        again = {"requeues": one.status.requeues or 0}
        status = again | ({"queuePosition": position.position} if position else {"job": f"{name}-1"})
        known[name] = replace(cache(name, **status), namespace=one.namespace, created=one.created)
        holders = Counter(other.namespace for other in known.values() if standing(other) == Standing.HOLDS)
        assert holders.total() <= limits.everywhere
        assert not limits.namespace or max(holders.values(), default=0) <= limits.namespace
        waiting_ahead = [
            other
            for other in known.values()
            if other.status.queue_position
            and (other.status.requeues or 0, other.created) < (one.status.requeues or 0, one.created)
        ]
        if position is None and not limits.namespace and standing(one) != Standing.HOLDS:
            assert len(waiting_ahead) + holders.total() <= limits.everywhere, "one that is ahead was passed"
    assert len(done) == len(known)
