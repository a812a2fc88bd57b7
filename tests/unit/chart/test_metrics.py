"""Metrics, alerts, dashboard and docs agree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import yaml

from harness.deploy import ROOT
from tunecast_operator.runtime import adopted_gauge
from tunecast_operator.runtime.metrics import FAMILIES, Metrics
from tunecast_operator.webhook.metrics import WebhookMetrics

FILES = ROOT / "charts" / "tunecast" / "files"
DOC = (ROOT / "docs" / "metrics.md").read_text()
ALERTS = [rule for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
PLAYED = yaml.safe_load((ROOT / "tests" / "data" / "alerts.yaml").read_text())["tests"]
SOURCES = "".join(path.read_text() for package in ("operator", "core") for path in (ROOT / package).rglob("*.py"))
SUFFIXES = {"gauge": ("",), "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
SUFFIX = re.compile(r"_(total|bucket|sum|count)$")


def families() -> dict[str, set[str]]:
    """Returns the labels of every metric that is computed when it is scraped."""
    found = {name: {"namespace", "name", *labels} for name, (_, labels, _) in FAMILIES.items()}
    return found | {adopted_gauge.NAME: {*adopted_gauge.LABELS}}


def registered() -> Iterator[Any]:
    """Yields all other metrics of the operator and of the webhook."""
    for owner in (Metrics(datetime.now(timezone.utc)), WebhookMetrics()):
        for name, value in vars(owner).items():
            if name.startswith("_") and hasattr(value, "_labelnames"):
                yield value


def known() -> dict[str, set[str]]:
    """Returns the labels of every metric, by its name without a suffix."""
    return families() | {metric._name: {*metric._labelnames} for metric in registered()}


def exposed() -> dict[str, set[str]]:
    """Returns the labels of every sample, by its whole name."""
    found = families()
    for metric in registered():
        for suffix in SUFFIXES[metric._type]:
            found[metric._name + suffix] = {*metric._labelnames, *(["le"] if suffix == "_bucket" else [])}
    return found


def rows(prefix: str) -> dict[str, str]:
    """Returns the rows of the docs' tables by the name in their first cell."""
    lines = (line.split("|") for line in DOC.splitlines() if line.startswith(f"| `{prefix}"))
    return {cells[1].strip(" `"): cells[2] for cells in lines}


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [*panels, *(rule["expr"] for rule in ALERTS)]


def test_the_docs_have_every_metric_with_its_labels() -> None:
    documented = {
        SUFFIX.sub("", name): set(re.findall(r"`(\w+)`", labels)) for name, labels in rows("tunecast_").items()
    }
    assert documented == {name: labels - {"namespace", "name"} for name, labels in known().items()}


def test_the_docs_have_every_alert() -> None:
    assert rows("Tunecast").keys() == {rule["alert"] for rule in ALERTS}
    assert all({"summary", "description"} == rule["annotations"].keys() for rule in ALERTS)


def test_no_expression_asks_for_what_is_not_there() -> None:
    there = exposed()
    for expression in expressions():
        names = set(re.findall(r"tunecast_\w+", expression))
        assert names <= there.keys(), expression
        labels = set().union(*(there[name] for name in names))
        asked = set(re.findall(r"(\w+)(?:!?=~?|!~)\"", expression))
        for group in re.findall(r"by \(([^)]*)\)", expression):
            asked |= {label.strip() for label in group.split(",")}
        assert asked <= labels, expression


def test_no_expression_uses_a_label_value_that_never_occurs() -> None:
    """Label values are states, reasons and results as the code spells them."""
    for expression in expressions():
        for words in re.findall(r"(?:=~?|!~|!=)\"([^\"$]+)\"", expression):
            assert all(f'"{word}"' in SOURCES for word in words.split("|")), expression


def test_each_alert_is_played_both_ways() -> None:
    """Each alert must have samples with which it fires, and samples with which it nearly does."""
    fires = {alert: {False, True} for alert in (rule["alert"] for rule in ALERTS)}
    seen: dict[str, set[bool]] = {}
    for group in PLAYED:
        (alert,) = {case["alertname"] for case in group["alert_rule_test"]}
        assert group["name"].startswith(f"{alert}: ")
        seen.setdefault(alert, set()).add(any(case.get("exp_alerts") for case in group["alert_rule_test"]))
    assert seen == fires


def test_samples_are_played_as_they_are_exposed() -> None:
    there = exposed()
    for group in PLAYED:
        for played in group["input_series"]:
            name, _, labels = played["series"].partition("{")
            found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            assert found.keys() == there[name], played
            words = {word for label, word in found.items() if label not in {"namespace", "name"}}
            assert all(f'"{word}"' in SOURCES for word in words), played


def test_panels_lie_side_by_side() -> None:
    """Panels do not overlap, and Grafana moves none of them."""
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        x, y, w, h = (panel["gridPos"][name] for name in "xywh")
        for place in ((column, row) for column in range(x, x + w) for row in range(y, y + h)):
            assert place not in taken, f"{panel['title']} lies on {taken[place]}"
            taken[place] = panel["title"]
    assert len(taken) == 24 * (1 + max(row for _, row in taken))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_what_shows_one_moment_asks_for_one() -> None:
    """Over a range, a stat would still show the last values of states that have ended."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            assert target.get("instant", False) == (panel["type"] != "timeseries"), panel["title"]
