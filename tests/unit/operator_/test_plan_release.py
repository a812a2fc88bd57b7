"""Deciding if replicas may start or wait for their StartupCache."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from support.objects import (
    NOW,
    inference_deployment,
    pod_template,
    serving_pod,
)
from support.serving import CHANGED, OWNER, PYCACHE, condition, lived, plan, rendered, serving, startup_cache
from tunecast_operator import times
from tunecast_operator.api.status import State


def test_tune_first_creates_the_cache_and_holds_the_replicas() -> None:
    first = plan(OWNER)
    assert first.create_caches
    assert first.apply_deployment is not None
    assert first.apply_deployment["spec"]["replicas"] == 0
    assert (condition(first, "Ready").reason, first.status.cache) == ("HeldForTuning", "Tuning")


def test_replicas_start_warm_once_the_cache_is_ready() -> None:
    held = lived(plan(OWNER), 0)
    released = plan(OWNER, startup_cache(OWNER, "Ready", "Published", environment=PYCACHE), live=held)
    assert released.apply_deployment is not None
    assert released.apply_deployment["spec"]["replicas"] == 2
    engine = released.apply_deployment["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "PYTHONPYCACHEPREFIX", "value": PYCACHE["PYTHONPYCACHEPREFIX"]} in engine["env"]
    assert released.status.cache == "Hit"


@pytest.mark.parametrize(("state", "column"), [("Failed", "Failed"), ("Ineffective", "Cold")])
def test_replicas_start_cold_after_tuning_fails(state: State, column: str) -> None:
    released = plan(OWNER, startup_cache(OWNER, state, "Why"), live=lived(plan(OWNER), 0))
    assert released.apply_deployment is not None
    assert released.apply_deployment["spec"]["replicas"] == 2
    assert (released.status.cache, condition(released, "CacheReady").reason) == (column, "Why")


@pytest.mark.parametrize("reason", ["QueueTimeout", "TimedOut"])
def test_replicas_start_cold_after_the_timeout(reason: str) -> None:
    released = plan(OWNER, startup_cache(OWNER, "Pending", reason), live=lived(plan(OWNER), 0))
    assert released.apply_deployment is not None
    assert released.apply_deployment["spec"]["replicas"] == 2
    assert released.status.cache == "Cold"


def test_a_change_of_replicas_or_of_a_label_tunes_nothing() -> None:
    for change in ({"replicas": 3}, {"replicas": 2, "template": pod_template(metadata={"labels": {"team": "a"}})}):
        changed = inference_deployment(**change)
        after = plan(changed, startup_cache(OWNER, "Ready", "Published"), live=serving())
        assert after.create_caches == ()
        assert after.apply_deployment is not None
        assert after.apply_deployment["spec"]["replicas"] == change["replicas"]


def test_a_change_of_the_key_tunes_while_the_old_template_serves_and_scales() -> None:
    during = plan(CHANGED, startup_cache(OWNER, "Ready", "Published"), live=serving())
    assert during.create_caches
    assert during.apply_deployment is None
    assert during.scale == 3
    assert condition(during, "Reconciling").status == "True"
    assert during.status.key != rendered(during).key


def test_a_cache_that_is_tuned_again_never_holds_replicas_that_serve() -> None:
    after = plan(OWNER, startup_cache(OWNER, "Pending", "Queued"), live=serving())
    assert after.apply_deployment is not None
    assert after.apply_deployment["spec"]["replicas"] == 2


def test_serve_while_tuning_starts_cold_and_never_rolls_when_the_cache_comes() -> None:
    owner = inference_deployment(replicas=1, tuning={"policy": "ServeWhileTuning"})
    first = plan(owner)
    assert first.apply_deployment is not None
    assert first.apply_deployment["spec"]["replicas"] == 1
    later = plan(owner, startup_cache(owner, "Ready", "Published", environment=PYCACHE), live=lived(first, 1))
    assert later.apply_deployment is not None
    assert later.apply_deployment["spec"]["template"] == first.apply_deployment["spec"]["template"]


OLD = {"replicas": 2, "updatedReplicas": 2, "observedGeneration": 1}


def unavailable(seconds: float) -> dict[str, Any]:
    since = times.text(NOW - timedelta(seconds=seconds))
    return {**OLD, "conditions": [{"type": "Available", "status": "False", "lastTransitionTime": since}]}


STARTING = serving_pod("qwen3-a", "m", {"state": {"running": {"startedAt": times.text(NOW)}}})
CRASHING = serving_pod("qwen3-a", "m", {"state": {"running": {"startedAt": times.text(NOW)}}, "restartCount": 1})
BLOCKED = serving_pod("qwen3-a", "m", {"state": {"waiting": {"reason": "ImagePullBackOff"}}})


@pytest.mark.parametrize(
    ("status", "pod", "kept", "again"),
    [
        ({**OLD, "readyReplicas": 1}, CRASHING, True, None),
        ({**unavailable(700), "readyReplicas": 1}, CRASHING, True, None),
        (unavailable(500), STARTING, True, 100.0),
        (unavailable(601), STARTING, False, None),
        (unavailable(100), CRASHING, True, 20.0),
        (unavailable(121), CRASHING, False, None),
        (unavailable(121), BLOCKED, False, None),
    ],
    ids=["serves", "serves with too few", "starts", "starts too long", "crashed", "crashes for long", "can't start"],
)
def test_an_old_revision_is_kept_only_while_it_serves(
    status: dict[str, Any], pod: dict[str, Any], kept: bool, again: float | None
) -> None:
    fixed = inference_deployment(replicas=2, template=pod_template("--max-model-len=8192"))
    during = plan(fixed, live={**serving(), "status": status}, pods=[pod])
    assert (during.apply_deployment is None, during.requeue_seconds) == (kept, again)


def test_a_held_deployment_that_an_administrator_scaled_serves_while_another_key_is_tuned() -> None:
    changed = inference_deployment(template=pod_template(image="vllm:v2"))
    assert plan(changed, live=lived(plan(inference_deployment()), 3)).apply_deployment is None


@pytest.mark.parametrize("annotation", ["", "no json", '{"of": "an older operator"}'])
def test_a_deployment_whose_annotation_can_not_be_read_is_never_held_or_scaled(annotation: str) -> None:
    live = serving()
    live["metadata"]["annotations"] = {"tunecast.io/revision": annotation}
    after = plan(OWNER, startup_cache(OWNER), live=live)
    assert after.apply_deployment is not None
    assert after.apply_deployment["spec"].get("replicas", 2) == 2
