from support.objects import NOW
from tunecast_operator.api.status import ConditionStatus
from tunecast_operator.conditions import Condition, find, merge
from tunecast_operator.runtime.events import event

READY = Condition("Ready", "True", "Fine", "all is well")


def test_a_transition_updates_the_time_and_is_reported() -> None:
    old = [ConditionStatus(type="Ready", status="False", reason="Bad", last_transition_time="t0")]
    merged, transitions = merge(old, [READY], generation=3, now="t1")
    assert merged[0].last_transition_time == "t1"
    assert merged[0].observed_generation == 3
    assert [(t.condition, t.previous) for t in transitions] == [(READY, "False/Bad/t0/")]


def test_another_reason_with_the_same_status_is_reported_but_keeps_the_time() -> None:
    old = [ConditionStatus(type="Ready", status="True", reason="Other", last_transition_time="t0")]
    merged, transitions = merge(old, [READY], generation=1, now="t1")
    assert merged[0].last_transition_time == "t0"
    assert len(transitions) == 1


def test_an_unchanged_condition_is_not_reported() -> None:
    first, _ = merge([], [READY], generation=1, now="t0")
    again, transitions = merge(first, [READY], generation=1, now="t1")
    assert again == first
    assert not transitions


def test_a_condition_is_found_by_type() -> None:
    assert find({"conditions": [{"type": "Ready", "reason": "Fine"}]}, "Ready")["reason"] == "Fine"
    assert not find({}, "Ready")


def test_each_attempts_transitions_have_events_of_their_own() -> None:
    """Status and transition time are the same for all attempts; only messages distinguish them."""
    owner = {"metadata": {"name": "kc", "namespace": "n", "uid": "u"}, "apiVersion": "v", "kind": "K"}
    conditions: list[ConditionStatus] = []
    names = []
    for attempt in (1, 2, 3):
        for reason in ("Queued", "Tuning", "Retrying"):
            new = Condition("Ready", "False", reason, f"attempt {attempt}")
            conditions, [transition] = merge(conditions, [new], generation=1, now="t0")
            names.append(event(owner, transition, NOW)["metadata"]["name"])
    assert len(set(names)) == len(names)
