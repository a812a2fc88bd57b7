"""Alerts and the dashboard's queries, as the chart renders them, checked by promtool."""

from __future__ import annotations

import json
import re
import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from harness.deploy import ROOT
from harness.kubectl import Kubectl, Object
from support.chart import render
from support.objects import proof
from support.promtool import promtool
from tunecast_core.records.report import InitReport
from tunecast_operator.api.status import (
    ConditionStatus,
    InferenceDeploymentStatus,
    InitReports,
    ReasonCount,
    StartupCacheStatus,
    State,
)
from tunecast_operator.conditions import Condition, Transition
from tunecast_operator.plan.adopted_states import AdoptedState
from tunecast_operator.plan.results import proof_status
from tunecast_operator.runtime.adopted_gauge import AdoptedGauge
from tunecast_operator.runtime.metrics import Metrics
from tunecast_operator.webhook.metrics import WebhookMetrics

PLAYED = ROOT / "tests" / "data" / "alerts.yaml"
SINCE = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def chart(kubernetes: Kubectl) -> dict[tuple[str, str], Object]:
    return render(kubernetes, metrics={"alerts": {"enabled": True}, "dashboard": {"enabled": True}})


@pytest.fixture
def rules(chart: dict[tuple[str, str], Object], tmp_path: Path) -> Path:
    """Returns the rules of the PrometheusRule, as Prometheus's operator writes them to a file."""
    found = tmp_path / "rules.yaml"
    found.write_text(yaml.safe_dump(chart["PrometheusRule", "t"]["spec"]))
    return found


def test_prometheus_accepts_the_rules(rules: Path) -> None:
    code, output = promtool("check", "rules", "--lint=all", "--lint-fatal", rules.name, folder=rules.parent)
    assert code == 0, output
    assert "SUCCESS: 16 rules found" in output


def test_each_alert_fires_when_it_should_and_only_then(rules: Path) -> None:
    shutil.copy(PLAYED, rules.parent)
    code, output = promtool("test", "rules", PLAYED.name, folder=rules.parent)
    assert code == 0, output


def test_no_alert_fires_for_a_healthy_operator(rules: Path) -> None:
    """Plays all of its metrics for three hours."""
    alerts = [rule["alert"] for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]]
    played = {
        "rule_files": [rules.name],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": f"{value}x180"} for series, value in in_good_order()],
                "alert_rule_test": [{"alertname": alert, "eval_time": "3h"} for alert in alerts],
            }
        ],
    }
    (rules.parent / "played.yaml").write_text(yaml.safe_dump(played))
    code, output = promtool("test", "rules", "played.yaml", folder=rules.parent)
    assert code == 0, output


def in_good_order() -> list[tuple[str, str]]:
    """Returns samples of an operator that has tuned and serves, after some failed attempts."""
    metrics = Metrics(SINCE)
    metrics.watch_queue(lambda: 1)
    metrics.webhook_certificate("tunecast-system", "tunecast-webhook", SINCE)
    metrics.reconciled("StartupCache", "Success", 0.1)
    metrics.reconciled("StartupCache", "Conflict", 0.1)
    metrics.transitioned("StartupCache", [Transition(Condition("Ready", "True", "Published", ""), "")])
    ready = ConditionStatus(type="Ready", status="True", reason="Published", last_transition_time="t")
    idle = ConditionStatus(type="Stalled", status="False", reason="Idle", last_transition_time="t")
    tuned = proof_status(proof(verdict="Partial")) | StartupCacheStatus(
        state=State.READY, referred_by=["qwen3"], size_bytes=5, conditions=[ready, idle]
    )
    metrics.observe(("StartupCache", "models", "kc"), StartupCacheStatus(), tuned)
    failed = StartupCacheStatus(state=State.FAILED, referred_by=[])
    metrics.observe(("StartupCache", "models", "old"), StartupCacheStatus(), failed)
    counts = [ReasonCount(reason="Installed", count=2), ReasonCount(reason="NoManifest", count=1)]
    served = InferenceDeploymentStatus(
        desired_replicas=3, ready_replicas=3, init_reports=InitReports(counts=counts), conditions=[idle]
    )
    metrics.observe(("InferenceDeployment", "models", "qwen3"), InferenceDeploymentStatus(), served)
    report = InitReport("Hit", "Installed", "", "key", bytes=5, seconds={"total": 1.5}, layers=("Triton",))
    metrics.count_inits("models", "qwen3", {"pod": ("2026-01-01T00:00:01Z", report)})
    adopted = {AdoptedState.HIT: 2, AdoptedState.COLD: 1, AdoptedState.PENDING: 1, AdoptedState.TUNING_DISABLED: 1}
    metrics.registry.register(AdoptedGauge(lambda: {"models": adopted}))
    webhook = WebhookMetrics()
    for answer in ("Injected", "Refused", "Ignored"):
        webhook.answered(answer, 0.001)
    lines = (generate_latest(metrics.registry) + generate_latest(webhook.registry)).decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return [(series, value) for series, _, value in samples]


def queries(chart: dict[tuple[str, str], Object], title: str = "") -> list[str]:
    """Returns the dashboard's queries, of one panel or of all, with Grafana's variables replaced."""
    dashboard = json.loads(chart["ConfigMap", "t-dashboard"]["data"]["tunecast.json"])
    found = [target["expr"] for panel in dashboard["panels"] if title in panel["title"] for target in panel["targets"]]
    values = {"$__rate_interval": "1m", "$__interval": "2m", "$namespace": "models|other"}
    return [re.sub(r"\$\w+", lambda variable: values[variable[0]], query) for query in found]


def test_every_query_of_the_dashboard_can_be_parsed(chart: dict[tuple[str, str], Object], tmp_path: Path) -> None:
    """Checks them as recording rules, which needs no server."""
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries(chart))]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    code, output = promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yaml", folder=tmp_path)
    assert code == 0, output
    assert f"SUCCESS: {len(rules)} rules found" in output


ATTEMPTS = 'tunecast_tuning_attempts_total{instance="a",result="Published"}'
FIRST = 'tunecast_transitions_total{instance="a",kind="StartupCache",type="Ready",status="True",reason="Published"}'


@pytest.mark.parametrize(
    ("title", "labels", "series", "seen"),
    [
        ("Tuning attempts", '{result="Published"}', {ATTEMPTS: "0x3 1x3 3x5"}, {"4m": 1, "7m": 0, "8m": 2, "12m": 0}),
        ("Tuning attempts", '{result="Published"}', {ATTEMPTS: "7x3 1x5"}, {"4m": 0, "8m": 0}),  # the counter was reset
        (
            "condition Ready",
            '{kind="StartupCache", reason="Published"}',
            {FIRST: "_x4 1x9"},
            {"3m": 0, "5m": 1, "8m": 0},
        ),
    ],
)
def test_the_dashboard_counts_exactly(
    chart: dict[tuple[str, str], Object],
    tmp_path: Path,
    title: str,
    labels: str,
    series: dict[str, str],
    seen: dict[str, int],
) -> None:
    """Intervals have two minutes; an interval without events shows nothing."""
    (query,) = queries(chart, title)
    cases = [
        {"expr": query, "eval_time": at, "exp_samples": [{"labels": labels, "value": value}] if value else []}
        for at, value in seen.items()
    ]
    shown = {'tunecast_queue_length{instance="a"}': "0x20", **series}
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in shown.items()],
        "promql_expr_test": cases,
    }
    (tmp_path / "played.yaml").write_text(yaml.safe_dump({"tests": [test]}))
    code, output = promtool("test", "rules", "played.yaml", folder=tmp_path)
    assert code == 0, output
