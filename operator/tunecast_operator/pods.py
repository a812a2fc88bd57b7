"""Reads pods: their containers, conditions and phase, and the reports of their init containers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunecast_core.errors import MalformedError
from tunecast_core.records.codec import decode
from tunecast_core.records.report import InitReport
from tunecast_operator.identity import CONTAINER_ANNOTATION, KEY_LABEL
from tunecast_operator.resources.replica import INIT

Pod = Mapping[str, Any]  # as the API server returns it


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container waits, such as ImagePullBackOff."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Termination:
    """How a container ended. Times are in RFC 3339, and empty if the container runtime lost them."""

    exit_code: int
    reason: str
    message: str
    started_at: str
    finished_at: str


@dataclass(frozen=True, slots=True)
class Container:
    """A container as its kubelet reports it.

    Attributes:
        name: name of the container.
        image_id: the image by digest; empty before it was pulled.
        ready: whether the container is ready.
        started: whether it passed its startup probe.
        restarts: number of restarts.
        waiting: why it waits; None if it doesn't.
        running_since: when it started, in RFC 3339; None if it doesn't run.
        terminated: how it ended; None if it hasn't.
        terminated_before: how the run before the current one ended.
    """

    name: str
    image_id: str = ""
    ready: bool = False
    started: bool = False
    restarts: int = 0
    waiting: Waiting | None = None
    running_since: str | None = None
    terminated: Termination | None = None
    terminated_before: Termination | None = None

    @property
    def has_run(self) -> bool:
        """Whether the container runs or has run."""
        return self.running_since is not None or self.terminated is not None


@dataclass(frozen=True, slots=True)
class PodCondition:
    """A condition of a pod."""

    type: str
    status: str
    reason: str
    message: str
    changed_at: str  # when the status last changed, in RFC 3339; may be empty


def name(pod: Pod) -> str:
    return str(pod["metadata"]["name"])


def node(pod: Pod) -> str:
    """Returns the node that the pod is bound to; empty before it is bound."""
    return str(pod.get("spec", {}).get("nodeName", ""))


def key(pod: Pod) -> str:
    """Returns the key of a serving pod; empty if it has none."""
    return str((pod["metadata"].get("labels") or {}).get(KEY_LABEL, ""))


def over(pod: Pod) -> bool:
    """Whether the pod has ended and won't restart. An evicted pod stays listed in this phase."""
    return _status(pod).get("phase") in {"Succeeded", "Failed"}


def deleting(pod: Pod) -> bool:
    """Whether somebody has deleted the pod, which ends within its grace period."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def reason(pod: Pod) -> str:
    """Returns why the pod is in its phase, such as Evicted; empty for most pods."""
    return str(_status(pod).get("reason") or "")


def message(pod: Pod) -> str:
    """Returns the message for that reason."""
    return str(_status(pod).get("message") or "")


def conditions(pod: Pod) -> list[PodCondition]:
    """Returns the conditions that the scheduler, the kubelet and others have set."""
    return [
        PodCondition(
            type=str(found["type"]),
            status=str(found["status"]),
            reason=str(found.get("reason") or ""),
            message=str(found.get("message") or ""),
            changed_at=str(found.get("lastTransitionTime") or ""),
        )
        for found in _status(pod).get("conditions") or ()
    ]


def condition(pod: Pod, kind: str) -> PodCondition | None:
    """Returns the condition of this type, or None."""
    return next((found for found in conditions(pod) if found.type == kind), None)


def containers(pod: Pod) -> list[Container]:
    """Returns the ordinary containers that the kubelet reports."""
    return [_container(found) for found in _status(pod).get("containerStatuses") or ()]


def init_containers(pod: Pod) -> list[Container]:
    """Returns the init containers that the kubelet reports, including native sidecars."""
    return [_container(found) for found in _status(pod).get("initContainerStatuses") or ()]


def engine_name(pod: Pod) -> str:
    """Returns the name of the engine's container from the annotation that the operator set in the template."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(CONTAINER_ANNOTATION, ""))


def engine(pod: Pod) -> Container:
    """Returns the engine's container. Before the kubelet reports it, it is one that never ran."""
    wanted = engine_name(pod)
    return next((found for found in containers(pod) if found.name == wanted), Container(wanted))


def installer(pod: Pod) -> Container:
    """Returns Tunecast's init container. Before the kubelet reports it, it is one that never ran."""
    return next((found for found in init_containers(pod) if found.name == INIT), Container(INIT))


def init_report(pod: Pod) -> InitReport | None:
    """Returns the last report of a serving pod's init container; None before there is one, or if the pod is over."""
    return None if over(pod) else next((report for _, _, report in _reports(pod)), None)


def init_runs(pods: Iterable[Pod]) -> dict[str, tuple[str, InitReport]]:
    """Returns every report that pods still show, by pod and run, with the time when the run ended."""
    return {run: (finished, report) for pod in pods for run, finished, report in _reports(pod)}


def _reports(pod: Pod) -> Iterator[tuple[str, str, InitReport]]:
    found = installer(pod)
    for ended in (found.terminated, found.terminated_before):
        if ended is None or not ended.finished_at:
            continue
        try:
            report = decode(InitReport, ended.message.encode(), f"the report of {name(pod)}")
        except MalformedError:
            continue  # truncated, or not a report
        yield f"{pod['metadata'].get('uid')} {ended.finished_at}", ended.finished_at, report


def _status(pod: Pod) -> Mapping[str, Any]:
    found: Mapping[str, Any] = pod.get("status") or {}
    return found


def _container(status: Mapping[str, Any]) -> Container:
    state, before = status.get("state") or {}, status.get("lastState") or {}
    waiting, running = state.get("waiting"), state.get("running")
    return Container(
        name=str(status["name"]),
        image_id=str(status.get("imageID") or ""),
        ready=bool(status.get("ready")),
        started=bool(status.get("started")),
        restarts=int(status.get("restartCount") or 0),
        waiting=None if waiting is None else Waiting(_text(waiting, "reason"), _text(waiting, "message")),
        running_since=None if running is None else _text(running, "startedAt"),
        terminated=_termination(state.get("terminated")),
        terminated_before=_termination(before.get("terminated")),
    )


def _termination(found: Mapping[str, Any] | None) -> Termination | None:
    if found is None:
        return None
    return Termination(
        exit_code=int(found.get("exitCode") or 0),
        reason=_text(found, "reason"),
        message=_text(found, "message"),
        started_at=_text(found, "startedAt"),
        finished_at=_text(found, "finishedAt"),
    )


def _text(found: Mapping[str, Any], field: str) -> str:
    return str(found.get(field) or "")
