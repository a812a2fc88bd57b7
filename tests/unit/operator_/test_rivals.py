"""Which of several StartupCaches with one key tunes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import StartupCacheStatus
from tunecast_operator.plan.rivals import Rival, rival


def cache(name: str, state: str = "Pending", reason: str = "Queued", **status: Any) -> StartupCache:
    conditions = [{"type": "Ready", "status": "False", "reason": reason, "lastTransitionTime": "2026-11-28T10:00:00Z"}]
    found = {"referredBy": ["qwen3"], "state": state, "conditions": conditions, **status}
    return replace(NEW, name=name, created=made(name[-1]), status=StartupCacheStatus.model_validate(found))


def made(second: str) -> str:
    return f"2026-11-28T10:00:0{second}Z"


NEW = StartupCache("kc-1", "key", made("1"), deleting=False, status=StartupCacheStatus())


ME = cache("kc-5")


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], None),
        ([cache("kc-1")], Rival("kc-1", runs=False)),
        ([cache("kc-9")], None),
        ([cache("kc-9", "Tuning", job="kc-9-1")], Rival("kc-9", runs=True)),
        ([cache("kc-1"), cache("kc-9", "Tuning", job="kc-9-1")], Rival("kc-9", runs=True)),
        ([cache("kc-1", "Publishing", job="kc-1-1")], Rival("kc-1", runs=True)),
        ([cache("kc-1", reason="Retrying", nextAttemptAt="later")], Rival("kc-1", runs=False)),
        ([cache("kc-1", reason="QueueTimeout", job="kc-1-1")], None),
        ([cache("kc-1", "Failed")], None),
        ([cache("kc-1", "Ready")], None),
        ([cache("kc-1", referredBy=[])], None),
        ([NEW], Rival("kc-1", runs=False)),
        ([replace(NEW, deleting=True)], None),
        ([replace(NEW, created=made("9"))], None),
    ],
    ids=[
        "alone",
        "an older one comes first",
        "a younger one does not",
        "except for one that has begun",
        "one that has begun before one that is older",
        "one that publishes",
        "one between two attempts",
        "one that waits too long for capacity blocks no other",
        "one that gave up",
        "one that is ready",
        "an unwanted one",
        "an older one that was never reconciled",
        "except for one that is being deleted",
        "a younger one that was never reconciled",
    ],
)
def test_one_of_a_key_tunes_at_a_time(others: list[StartupCache], expected: Rival | None) -> None:
    assert rival(ME, [ME, *others]) == expected


def test_those_for_other_hardware_tune_at_the_same_time() -> None:
    busy = replace(cache("kc-1", "Tuning", job="kc-1-1"), asked_hardware="nvidia-l4-x86-64")
    assert rival(ME, [ME, busy]) is None
    assert rival(replace(ME, asked_hardware="nvidia-l4-x86-64"), [busy]) == Rival("kc-1", runs=True)
