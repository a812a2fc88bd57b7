"""What is tuned for because replicas run on it."""

from __future__ import annotations

from typing import Any

import pytest

from tunecast_cache.report import InitReport
from tunecast_operator.plan.hardware import Asked, Target, asked, targets

H100, L4, A100 = "nvidia-h100-x86-64", "nvidia-l4-x86-64", "nvidia-a100-x86-64"
PRODUCT, TYPE = "nvidia.com/gpu.product", "node.kubernetes.io/instance-type"


def by(label: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": label, "operator": "In", "values": list(values)}]}


@pytest.mark.parametrize(
    ("report", "node", "expected"),
    [
        (InitReport("Cold", "NoBundleForThisGPU", "", "k", hardware=L4), "n1", Asked(L4, "n1")),
        (InitReport("Cold", "NoBundleForThisGPU", "", "k", hardware="unknown"), "n1", None),
        (InitReport("Cold", "NoManifest", "", "k", hardware=L4), "n1", None),
        (InitReport("Hit", "Installed", "", "k", hardware=L4), "n1", None),
        (InitReport("Cold", "NoBundleForThisGPU", "", "k", hardware=L4), "", None),
    ],
)
def test_what_a_report_asks_for(report: InitReport, node: str, expected: Asked | None) -> None:
    assert asked(report, node) == expected


@pytest.mark.parametrize(
    ("labels", "term"),
    [
        (
            {"n1": {PRODUCT: "NVIDIA-L4", TYPE: "g2"}, "n2": {PRODUCT: "NVIDIA-L4", TYPE: "g6"}},
            by(PRODUCT, "NVIDIA-L4"),
        ),
        ({"n1": {PRODUCT: "NVIDIA-L4", TYPE: "g2"}, "n2": {TYPE: "g6"}}, by(TYPE, "g2", "g6")),
        ({}, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1", "n2"]}]}),
    ],
    ids=["by product", "by instance type where a node lacks the product", "by name where nodes can't be read"],
)
def test_ranks_go_to_nodes_like_those_that_asked(labels: dict[str, dict[str, str]], term: dict[str, Any]) -> None:
    found = [Asked(L4, "n1"), Asked(L4, "n2"), Asked(L4, "n1")]
    assert targets(found, labels, [H100]) == ([Target(L4, term)], [])


def test_hardware_that_is_tuned_for_is_not_asked_for_again() -> None:
    assert targets([Asked(L4, "n1")], {}, [H100, L4]) == ([], [])


def test_the_limit_names_what_it_leaves_out() -> None:
    found = [Asked(L4, "n1"), Asked(A100, "n2")]
    begun, left_out = targets(found, {}, [H100], limit=2)
    assert ([target.hardware for target in begun], left_out) == ([A100], [L4])
