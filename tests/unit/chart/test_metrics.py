"""Metrics, alerts, dashboard and docs tell of the same things."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

import yaml

from harness.deploy import ROOT
from tunecast_operator.metrics import FAMILIES, Metrics

FILES = ROOT / "charts" / "tunecast" / "files"
DOC = (ROOT / "docs" / "metrics.md").read_text()
ALERTS = [rule for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
SUFFIX = re.compile(r"_(total|bucket|sum|count)$")


def known() -> dict[str, set[str]]:
    """Every metric's labels, by its name without a suffix."""
    found = {name: {"namespace", "name", *labels} for name, (_, labels, _) in FAMILIES.items()}
    for name, value in vars(Metrics(datetime.now(timezone.utc))).items():
        if name.startswith("_") and hasattr(value, "_labelnames"):
            found[value._name] = set(value._labelnames)
    return found


def rows(prefix: str) -> dict[str, str]:
    """Rows of the docs' tables by what their first cell names."""
    lines = (line.split("|") for line in DOC.splitlines() if line.startswith(f"| `{prefix}"))
    return {cells[1].strip(" `"): cells[2] for cells in lines}


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [*panels, *(rule["expr"] for rule in ALERTS)]


def test_the_docs_have_every_metric_with_its_labels() -> None:
    told = {SUFFIX.sub("", name): set(re.findall(r"`(\w+)`", labels)) for name, labels in rows("tunecast_").items()}
    assert told == {name: labels - {"namespace", "name"} for name, labels in known().items()}


def test_the_docs_have_every_alert() -> None:
    assert rows("Tunecast").keys() == {rule["alert"] for rule in ALERTS}
    assert all({"summary", "description"} == rule["annotations"].keys() for rule in ALERTS)


def test_no_expression_asks_for_what_is_not_there() -> None:
    there = known()
    for expression in expressions():
        names = set(re.findall(r"tunecast_\w+", expression))
        assert {SUFFIX.sub("", name) for name in names} <= there.keys(), expression
        labels = set().union(*(there[SUFFIX.sub("", name)] for name in names)) | {"le"}
        asked = set(re.findall(r"(\w+)(?:!?=~?|!~)\"", expression))
        for group in re.findall(r"by \(([^)]*)\)", expression):
            asked |= {label.strip() for label in group.split(",")}
        assert asked <= labels, expression
