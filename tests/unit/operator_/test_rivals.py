"""Which StartupCache of several with one key tunes."""

from __future__ import annotations

from typing import Any

import pytest

from tunecast_operator.plan.rivals import Rival, rival


def cache(name: str, state: str = "Pending", reason: str = "Queued", **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "False", "reason": reason}]
    found = {"referredBy": ["qwen3"], "state": state, "conditions": conditions, **status}
    return {"metadata": {"name": name, "creationTimestamp": f"2026-11-28T10:00:0{name[-1]}Z"}, "status": found}


ME = cache("kc-5")


NEW = {"name": "kc-1", "creationTimestamp": "2026-11-28T10:00:01Z"}


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
        ([{"metadata": NEW}], Rival("kc-1", runs=False)),
        ([{"metadata": {**NEW, "deletionTimestamp": "2026-11-28T10:00:02Z"}}], None),
        ([{"metadata": {**NEW, "creationTimestamp": "2026-11-28T10:00:09Z"}}], None),
    ],
    ids=[
        "alone",
        "an older one comes first",
        "a younger one does not",
        "but for one that has begun",
        "one that has begun before one that is older",
        "one that publishes",
        "one between two attempts",
        "one that waits for capacity for too long holds nobody up",
        "one that gave up",
        "one that is ready",
        "one that nobody wants",
        "an older one that no reconciler has looked at",
        "but for one that is being deleted",
        "a younger one that no reconciler has looked at",
    ],
)
def test_one_of_a_key_tunes_at_a_time(others: list[dict[str, Any]], expected: Rival | None) -> None:
    assert rival(ME, [ME, *others]) == expected
