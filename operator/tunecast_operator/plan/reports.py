"""What serving pods' init containers said, as pods keep it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tunecast_cache.errors import MalformedError
from tunecast_cache.records import decode
from tunecast_cache.report import InitReport
from tunecast_operator.pods import Pod
from tunecast_operator.resources.replica import INIT


def over(pod: Pod) -> bool:
    """Whether all containers of the pod have ended for good; an evicted pod stays for others to see."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def init_report(pod: Pod) -> InitReport | None:
    """What a serving pod's init container said last; None while it runs, if it said nothing, or the pod is over."""
    return None if over(pod) else next((report for _, _, report in _said(pod)), None)


def init_runs(pods: Iterable[Pod]) -> dict[str, tuple[str, InitReport]]:
    """Every report that pods still show, by pod and run, with the time of its end."""
    return {run: (finished, report) for pod in pods for run, finished, report in _said(pod)}


def _said(pod: Pod) -> Iterator[tuple[str, str, InitReport]]:
    for status in pod.get("status", {}).get("initContainerStatuses", ()):
        if status["name"] != INIT:
            continue
        for state in (status.get("state", {}), status.get("lastState", {})):
            ended = state.get("terminated") or {}
            finished = str(ended.get("finishedAt") or "")
            if not finished:
                continue
            try:
                report = decode(
                    InitReport, str(ended.get("message", "")).encode(), f"the report of {pod['metadata']['name']}"
                )
            except MalformedError:
                continue  # cut short, or no report: the pod's log has more
            yield f"{pod['metadata'].get('uid')} {finished}", finished, report
