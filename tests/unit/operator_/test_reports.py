"""What serving pods tell of their init containers."""

from __future__ import annotations

import pytest

from support.objects import serving_pod
from tunecast_operator.plan.reports import init_report, init_runs


def test_a_report_is_read_with_the_time_of_its_end() -> None:
    pod = serving_pod("a", "m" * 64, {})
    found = init_report(pod)
    assert found
    assert (found.result, found.manifest) == ("Hit", "m" * 64)
    assert init_runs([pod]) == {"uid-a 2026-01-01T10:00:00Z": ("2026-01-01T10:00:00Z", found)}


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_is_over_is_no_replica_and_its_run_still_counts(phase: str) -> None:
    """As an evicted one, which stays until somebody deletes it."""
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
