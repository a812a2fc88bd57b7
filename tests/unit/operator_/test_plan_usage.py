"""Which adopted pods run without the bundle that they could have."""

from __future__ import annotations

from typing import Any

import pytest

from tunecast_core.records.codec import canonical
from tunecast_core.records.report import NO_MANIFEST, NO_TRUST, InitReport
from tunecast_operator.plan.usage import missed_condition
from tunecast_operator.plan.workloads import UsingPod, Workload
from tunecast_operator.resources.replica import INIT

OWNER = Workload("Deployment", "vllm")


def using(report: InitReport | None, *, injected: bool = True) -> UsingPod:
    ended = {"exitCode": 0, "finishedAt": "2026-11-28T12:00:00Z"}
    message = {"message": canonical(report).decode()} if report else {}
    status = {"name": INIT, "ready": True, "restartCount": 0, "state": {"terminated": {**ended, **message}}}
    pod: dict[str, Any] = {"metadata": {"name": "vllm-a"}, "status": {"initContainerStatuses": [status]}}
    return UsingPod(pod, OWNER, injected)


@pytest.mark.parametrize("reason", [NO_MANIFEST, NO_TRUST])
def test_pods_that_started_before_their_bundle_are_counted_once_it_is_ready(reason: str) -> None:
    """The first pods of a namespace may start before the operator has written its trust ConfigMap."""
    pods = [using(InitReport("Cold", reason, "nothing yet", "")), using(InitReport("Hit", "Installed", "", "m"))]
    found = missed_condition(pods, ready=True)
    assert found is not None
    assert (found.reason, found.warning) == ("StartedBeforeBundle", False)
    assert "1 of Deployment vllm" in found.message
    assert missed_condition(pods, ready=False) is None


def test_pods_without_the_init_container_are_reported_even_before_the_bundle_is_ready() -> None:
    found = missed_condition([using(None, injected=False), using(None)], ready=False)
    assert found is not None
    assert (found.reason, found.warning) == ("NotInjected", True)


def test_no_pod_is_missed_where_all_start_from_the_bundle() -> None:
    assert missed_condition([using(InitReport("Hit", "Installed", "", "m")), using(None)], ready=True) is None
