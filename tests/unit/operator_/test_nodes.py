"""Labels of nodes are cached, and not requested without permission."""

from __future__ import annotations

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from tunecast_operator.reconcile.nodes import KEPT_SECONDS, Nodes
from tunecast_operator.runtime.cluster import Cluster, RejectedError


class Answers:
    def __init__(self, refuse: bool = False) -> None:
        self.asked: list[str] = []
        self._refuse = refuse

    def get(self, _kind: Any, _namespace: str, name: str) -> Any:
        self.asked.append(name)
        if self._refuse:
            raise RejectedError("forbidden")
        labels = {"nvidia.com/gpu.product": name, "node.kubernetes.io/instance-type": "g2", "zone": "a"}
        return {"metadata": {"labels": labels}} if name == "there" else None


def test_a_node_is_asked_for_once_in_a_while() -> None:
    now, answers = [0.0], Answers()
    nodes = Nodes(cast("Cluster", answers), allowed=True, clock=lambda: now[0])
    for _ in range(2):
        assert nodes.labels(["there", "gone", "there", ""]) == {
            "there": {"nvidia.com/gpu.product": "there", "node.kubernetes.io/instance-type": "g2"},
            "gone": {},
        }
    assert answers.asked == ["gone", "there"]
    now[0] += KEPT_SECONDS
    nodes.labels(["there"])
    assert answers.asked == ["gone", "there", "there"]


def test_what_may_not_be_read_is_not_known() -> None:
    assert Nodes(cast("Cluster", Answers(refuse=True)), allowed=True).labels(["there"]) == {"there": {}}
    forbidden = Answers()
    assert Nodes(cast("Cluster", forbidden), allowed=False).labels(["there"]) == {}
    assert forbidden.asked == []


def test_nodes_are_gone_if_none_of_them_exists() -> None:
    nodes = Nodes(cast("Cluster", Answers()), allowed=True)
    assert nodes.all_gone(["gone", "gone-too"])
    assert not nodes.all_gone(["gone", "there"])
    assert not nodes.all_gone([])


def test_nodes_that_may_not_be_read_are_not_taken_for_gone() -> None:
    assert not Nodes(cast("Cluster", Answers(refuse=True)), allowed=True).all_gone(["gone"])
    assert not Nodes(cast("Cluster", Answers()), allowed=False).all_gone(["gone"])


def test_workers_that_ask_at_once_are_all_answered() -> None:
    nodes = Nodes(cast("Cluster", Answers()), allowed=True, clock=itertools.count(0, KEPT_SECONDS / 3).__next__)
    names = ["there", *(f"gone-{number}" for number in range(50))]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = [*pool.map(lambda _: nodes.labels(names), range(200))]
    finally:
        sys.setswitchinterval(before)
    assert all(labels.keys() == set(names) for labels in found)
