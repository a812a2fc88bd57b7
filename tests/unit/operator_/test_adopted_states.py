"""Adopted pods in one word each, and their gauge."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration
from prometheus_client import CollectorRegistry, generate_latest

from support.adopted import NAMESPACE, adopted_pod, around
from tunecast_core.records.codec import canonical
from tunecast_core.records.report import InitReport
from tunecast_operator.plan.adopted_states import AdoptedState, adopted_state
from tunecast_operator.resources.replica import INIT
from tunecast_operator.runtime.adopted_gauge import AdoptedGauge
from tunecast_operator.runtime.adopted_pods import AdoptedPods
from tunecast_operator.runtime.cluster import POD, Cluster, Kind, Object
from tunecast_operator.webhook.inject import inject

HIT, COLD = InitReport("Hit", "Installed", "", "key"), InitReport("Cold", "NoManifest", "", "key")
NEVER = {"tunecast.io/tuning-policy": "Never"}


@pytest.mark.parametrize(
    ("described", "injected", "tuned_for", "report", "expected"),
    [
        (False, False, True, None, "Refused"),
        (True, False, True, None, "NotInjected"),
        (True, True, True, None, "Pending"),
        (True, True, True, HIT, "Hit"),
        (True, True, True, COLD, "Cold"),
        (True, True, False, HIT, "Hit"),
        (True, True, False, COLD, "TuningDisabled"),
        (True, True, False, None, "TuningDisabled"),
        (True, False, False, None, "NotInjected"),
    ],
)
def test_a_pod_is_in_one_state(
    described: bool, injected: bool, tuned_for: bool, report: InitReport | None, expected: str
) -> None:
    found = adopted_state(described=described, injected=injected, tuned_for=tuned_for, report=report)
    assert found == expected


class Listed(Cluster):
    """An API server that lists pods, and nothing else."""

    def __init__(self) -> None:
        super().__init__(ApiClient(Configuration()))
        self.pods: list[Object] = []

    def _call(self, method: str, kind: Kind, *_: Any, **__: Any) -> Object | None:
        assert method == "GET"
        return {"items": self.pods if kind == POD else [], "metadata": {"resourceVersion": "1"}}


def pod(
    name: str, report: InitReport | None = None, *, injected: bool = True, annotations: dict[str, str] | None = None
) -> Object:
    found: Any = adopted_pod(annotations=annotations)
    found = dict(inject(found, NAMESPACE, around())) if injected else found
    metadata = {**found["metadata"], "name": name, "uid": name, "resourceVersion": name}
    ended = {
        "exitCode": 0,
        "finishedAt": "2026-11-28T10:00:00Z",
        "message": canonical(report).decode() if report else "",
    }
    statuses = [{"name": INIT, "state": {"terminated": ended}}] if report else []
    return {**found, "metadata": metadata, "status": {"phase": "Running", "initContainerStatuses": statuses}}


def gauge(pods: AdoptedPods, *, cached: bool) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(AdoptedGauge(lambda: pods.counts(lambda _namespace, _key: cached)))
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name[0] != "#"}


def test_pods_are_counted_when_the_gauge_is_scraped_and_each_state_begins_with_zero() -> None:
    cluster = Listed()
    pods = AdoptedPods(cluster, [], {}, lambda _namespace, _key: None)
    assert gauge(pods, cached=True) == {}
    cluster.pods = [
        pod("hit", HIT),
        pod("cold", COLD),
        pod("starts"),
        pod("missed", injected=False),
        pod("bad", injected=False, annotations={"tunecast.io/ranks": "two"}),
        pod("never", annotations=NEVER),
        pod("never-hit", HIT, annotations=NEVER),
    ]
    pods.refresh()
    name = 'tunecast_adopted_pods{namespace="models",state="%s"}'
    expected = {"Hit": 2, "Cold": 1, "Pending": 1, "NotInjected": 1, "Refused": 1, "TuningDisabled": 1}
    assert gauge(pods, cached=False) == {name % state: count for state, count in expected.items()}
    expected |= {"Pending": 2, "TuningDisabled": 0}
    assert gauge(pods, cached=True) == {name % state: count for state, count in expected.items()}
    cluster.pods = []
    pods.refresh()
    assert gauge(pods, cached=True) == {name % state: 0 for state in AdoptedState}
    assert pods.counts(lambda _namespace, _key: True) == {"models": Counter()}
