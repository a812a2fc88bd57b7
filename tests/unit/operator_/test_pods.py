"""Reading the status of pods' containers and the reports of their init containers."""

from __future__ import annotations

from typing import Any

import pytest

from support.objects import serving_pod
from tunecast_operator.pods import Container, Termination, Waiting, containers, engine, init_report, init_runs


def test_a_report_is_read_with_the_time_of_its_end() -> None:
    pod = serving_pod("a", "m" * 64, {})
    found = init_report(pod)
    assert found
    assert (found.result, found.manifest) == ("Hit", "m" * 64)
    assert init_runs([pod]) == {"uid-a 2026-01-01T10:00:00Z": ("2026-01-01T10:00:00Z", found)}


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_is_over_is_no_replica_and_its_run_still_counts(phase: str) -> None:
    """An example is an evicted pod, which stays until it is deleted."""
    pod = serving_pod("a", "m" * 64, {})
    pod["status"]["phase"] = phase
    assert init_report(pod) is None
    assert len(init_runs([pod])) == 1


@pytest.mark.parametrize("ended", [{}, {"message": None}, {"message": "no report"}, {"finishedAt": None}, None])
def test_what_is_no_report_counts_as_none(ended: object) -> None:
    pod = serving_pod("a", "m" * 64, {})
    [status] = pod["status"]["initContainerStatuses"]
    changes = {"finishedAt": None, "message": status["state"]["terminated"]["message"]}
    status["state"]["terminated"] = {**changes, **ended} if isinstance(ended, dict) else None
    assert (init_report(pod), init_runs([pod])) == (None, {})


KILLED = {"exitCode": 137, "reason": "OOMKilled", "startedAt": None, "finishedAt": "2026-01-01T10:00:00Z"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, Container("engine")),
        ({"state": {}, "lastState": {}, "imageID": "", "restartCount": 0}, Container("engine")),
        ({"state": {"waiting": {"reason": "ErrImagePull"}}}, Container("engine", waiting=Waiting("ErrImagePull", ""))),
        ({"state": {"running": {}}, "started": True}, Container("engine", running_since="", started=True)),
        (
            {"state": {"running": {"startedAt": "2026-01-01T10:00:00Z"}}, "ready": True, "restartCount": 2},
            Container("engine", running_since="2026-01-01T10:00:00Z", ready=True, restarts=2),
        ),
        (
            {"state": {"terminated": KILLED}, "lastState": {"terminated": None}},
            Container("engine", terminated=Termination(137, "OOMKilled", "", "", "2026-01-01T10:00:00Z")),
        ),
        (
            {"lastState": {"terminated": KILLED}},
            Container("engine", terminated_before=Termination(137, "OOMKilled", "", "", "2026-01-01T10:00:00Z")),
        ),
    ],
)
def test_a_container_status_may_lack_optional_fields(status: dict[str, Any], expected: Container) -> None:
    assert containers({"status": {"containerStatuses": [{"name": "engine", **status}]}}) == [expected]


@pytest.mark.parametrize("status", [{}, {"status": {}}, {"status": {"containerStatuses": None}}])
def test_an_engine_that_no_kubelet_reports_has_not_run(status: dict[str, Any]) -> None:
    found = engine({"metadata": {"annotations": {"tunecast.io/container": "vllm"}}, **status})
    assert found == Container("vllm")
    assert not found.has_run
