"""Each metric, and the events that change it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from prometheus_client import generate_latest

from tunecast_core.records.report import InitReport
from tunecast_operator.api.status import (
    CommonStatus,
    ConditionStatus,
    FailureStatus,
    InferenceDeploymentStatus,
    InitReports,
    ReasonCount,
    StartupCacheStatus,
)
from tunecast_operator.conditions import Condition, Transition
from tunecast_operator.runtime.metrics import FAMILIES, Metrics, ended

SINCE = datetime(2026, 1, 1, tzinfo=timezone.utc)
BEFORE, AFTER = "2025-12-31T23:59:59Z", "2026-01-01T00:00:01Z"
CACHE, OWNER = ("StartupCache", "models", "kc"), ("InferenceDeployment", "models", "qwen3")
HIT = InitReport("Hit", "Installed", "", "key", bytes=100, seconds={"total": 1.5, "fetch": 0.4}, layers=("Triton",))
COLD = InitReport("Cold", "NoManifest", "", "key")
LAYER = {"layer": "Triton", "verdict": "Hit", "files": 1, "rebuilt": 0}
PROOF = {
    "mode": "Peer",
    "verdict": "Hit",
    "outputs": "Identical",
    "cold": {"totalSeconds": 90.0, "phases": {"import": 20.0}},
    "ranks": [
        {"rank": 1, "outputs": "Identical", "warm": {"totalSeconds": 30.0}, "layers": [LAYER]},
        {"rank": 2, "outputs": "Identical", "warm": {"totalSeconds": 31.0, "phases": {"import": 9.0}}},
    ],
}


def cache(**status: Any) -> StartupCacheStatus:
    return StartupCacheStatus.model_validate(status)


def failed(reason: str, attempt: int = 1) -> FailureStatus:
    return FailureStatus(reason=reason, message="", attempt=attempt)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(SINCE)


def shown(metrics: Metrics) -> dict[str, float]:
    """Returns every sample by its text, without histograms' buckets and creation times."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples if "_bucket{" not in name and "_created" not in name}


def test_reconciliations_and_the_queue(metrics: Metrics) -> None:
    metrics.watch_queue(lambda: 7)
    metrics.reconciled("StartupCache", "Failure", 0.25)
    found = shown(metrics)
    assert found["tunecast_queue_length"] == 7
    assert found['tunecast_reconciles_total{kind="StartupCache",result="Failure"}'] == 1
    assert found['tunecast_reconcile_seconds_sum{kind="StartupCache"}'] == 0.25


def test_what_is_counted_begins_with_zeros(metrics: Metrics) -> None:
    """Otherwise alerts and the dashboard miss the first event; only transitions have too many labels for that."""
    found = shown(metrics)
    assert found['tunecast_reconciles_total{kind="InferenceDeployment",result="Bug"}'] == 0
    assert found['tunecast_tuning_attempts_total{result="Published"}'] == 0
    assert found['tunecast_tuning_attempts_total{result="PeerLost"}'] == 0
    assert found['tunecast_init_containers_total{reason="Installed",result="Hit"}'] == 0
    assert found['tunecast_init_containers_total{reason="BadSignature",result="Cold"}'] == 0
    assert found['tunecast_init_seconds_count{phase="fetch"}'] == 0
    errors = [name for name in found if name.startswith("tunecast_store_errors_total")]
    assert len(errors) == 4  # one for each kind of StoreError
    assert not [name for name in found if "/" in name]  # constants of those modules that are not reasons
    assert len(found) < 120


def test_transitions(metrics: Metrics) -> None:
    metrics.transitioned("StartupCache", [Transition(Condition("Ready", "False", "TimedOut", "late"), "")] * 2)
    name = 'tunecast_transitions_total{kind="StartupCache",reason="TimedOut",status="False",type="Ready"}'
    assert shown(metrics)[name] == 2


@pytest.mark.parametrize(
    ("before", "after", "result"),
    [
        (cache(), cache(state="Tuning"), ""),
        (cache(state="Publishing"), cache(state="Ready"), "Published"),
        (cache(state="Ready"), cache(state="Ready"), ""),
        (cache(state="Tuning"), cache(state="Ineffective"), "Ineffective"),
        (cache(), cache(state="Pending", lastFailure=failed("PeerLost")), "PeerLost"),
        (cache(lastFailure=failed("a")), cache(lastFailure=failed("a")), ""),
        (cache(lastFailure=failed("a")), cache(lastFailure=failed("EngineCrashed", 2)), "EngineCrashed"),
        (
            cache(state="Publishing", lastFailure=failed("a")),
            cache(state="Ready", lastFailure=failed("a")),
            "Published",
        ),
        (InferenceDeploymentStatus(), InferenceDeploymentStatus(), ""),
    ],
)
def test_an_attempt_is_counted_once_when_it_ends(
    metrics: Metrics, before: CommonStatus, after: CommonStatus, result: str
) -> None:
    assert ended(before, after) == result
    metrics.observe(CACHE, before, after)
    metrics.observe(CACHE, after, after)
    attempts = {name: value for name, value in shown(metrics).items() if name.startswith("tunecast_tuning") and value}
    assert attempts == ({f'tunecast_tuning_attempts_total{{result="{result}"}}': 1} if result else {})


def test_an_init_container_is_counted_once_and_what_ended_before_the_operator_began_never(metrics: Metrics) -> None:
    metrics.count_inits("models", "qwen3", {"old": (BEFORE, HIT), "a": (AFTER, HIT)})
    metrics.count_inits("models", "qwen3", {"a": (AFTER, HIT), "b": (AFTER, COLD)})
    metrics.count_inits("models", "other", {"c": (AFTER, COLD)})
    found = shown(metrics)
    assert found['tunecast_init_containers_total{reason="Installed",result="Hit"}'] == 1
    assert found['tunecast_init_containers_total{reason="NoManifest",result="Cold"}'] == 2
    assert found["tunecast_init_bytes_total"] == 100
    assert found['tunecast_init_layers_total{layer="Triton"}'] == 1
    assert found['tunecast_init_seconds_sum{phase="total"}'] == 1.5
    assert found['tunecast_init_seconds_count{phase="fetch"}'] == 1


def test_gauges_follow_statuses_and_forget_deleted_objects(metrics: Metrics) -> None:
    ready = ConditionStatus(type="Ready", status="True", reason="Published", last_transition_time=AFTER)
    after = cache(state="Ready", sizeBytes=5, speedup="2.9x", proof=PROOF, conditions=[ready], referredBy=["qwen3"])
    metrics.observe(CACHE, cache(), after)
    reports = InitReports(counts=[ReasonCount(reason="Installed", count=2)])
    status = InferenceDeploymentStatus(desired_replicas=3, ready_replicas=2, init_reports=reports)
    metrics.observe(OWNER, InferenceDeploymentStatus(), status)
    found = {name: value for name, value in shown(metrics).items() if "name=" in name}
    kc, qwen3 = 'name="kc",namespace="models"', 'name="qwen3",namespace="models"'
    start = "tunecast_startup_cache_start_seconds"
    assert found == {
        f'tunecast_condition{{kind="StartupCache",{kc},reason="Published",status="True",type="Ready"}}': 1,
        f'tunecast_startup_cache_state{{{kc},state="Ready"}}': 1,
        f"tunecast_startup_cache_bytes{{{kc}}}": 5,
        f"tunecast_startup_cache_speedup{{{kc}}}": 2.9,
        f'{start}{{{kc},phase="import",start="cold"}}': 20,
        f'{start}{{{kc},phase="total",start="cold"}}': 90,
        f'{start}{{{kc},phase="import",start="warm"}}': 9,
        f'{start}{{{kc},phase="total",start="warm"}}': 31,
        f'tunecast_startup_cache_layer{{layer="Triton",{kc},rank="1",verdict="Hit"}}': 1,
        f'tunecast_inference_deployment_replicas{{{qwen3},state="desired"}}': 3,
        f'tunecast_inference_deployment_replicas{{{qwen3},state="ready"}}': 2,
        f'tunecast_inference_deployment_init_containers{{{qwen3},reason="Installed"}}': 2,
    }
    metrics.forget(CACHE)
    metrics.forget(OWNER)
    assert not [name for name in shown(metrics) if "name=" in name]


def test_a_position_in_the_queue_is_shown_while_there_is_one(metrics: Metrics) -> None:
    position = 'tunecast_startup_cache_queue_position{name="kc",namespace="models"}'
    metrics.observe(CACHE, cache(), cache(state="Pending", queuePosition=3))
    assert shown(metrics)[position] == 3
    metrics.observe(CACHE, cache(state="Pending", queuePosition=3), cache(state="Tuning"))
    assert position not in shown(metrics)


def test_an_empty_status_has_no_gauges(metrics: Metrics) -> None:
    metrics.observe(CACHE, cache(), cache())
    metrics.observe(OWNER, InferenceDeploymentStatus(), InferenceDeploymentStatus())
    assert all("qwen3" in name for name in shown(metrics) if "name=" in name)
    assert len(FAMILIES) == 9


def test_no_text_of_a_tenant_becomes_a_permanent_label(metrics: Metrics) -> None:
    evil = InitReport("Cold", "x" * 999, "", "key", bytes=-5, seconds={"x": 1.0, "total": -1.0}, layers=("y", "y"))
    metrics.count_inits("models", "qwen3", {"a": (AFTER, evil)})
    metrics.observe(CACHE, cache(), cache(lastFailure=failed("Whatever")))
    found = shown(metrics)
    assert found['tunecast_init_containers_total{reason="Other",result="Cold"}'] == 1
    assert found['tunecast_init_layers_total{layer="Other"}'] == 1
    assert found['tunecast_tuning_attempts_total{result="Other"}'] == 1
    assert found["tunecast_init_bytes_total"] == 0
    assert found['tunecast_init_seconds_sum{phase="total"}'] == 0
    assert not [name for name in found if 'phase="x"' in name]


def test_a_cache_that_nobody_wants_has_no_other_state(metrics: Metrics) -> None:
    metrics.observe(CACHE, cache(), cache(state="Failed", referredBy=[]))
    states = [name for name in shown(metrics) if name.startswith("tunecast_startup_cache_state")]
    assert states == ['tunecast_startup_cache_state{name="kc",namespace="models",state="Unwanted"}']
