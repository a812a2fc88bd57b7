"""Finds why pods don't start, from what kubelets, schedulers and controllers report."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tunecast_operator import times
from tunecast_operator.pods import Container, Pod, conditions, containers, init_containers, message, name, reason

EVICTED = "Evicted"
INIT_SECONDS = 180.0  # an injected init container that runs for longer is reported: it may never end

# Waiting reasons of containers that don't make progress.
_TROUBLE = {
    "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Blocked:
    reason: str
    message: str
    capacity: bool = False  # a lack of capacity, which passes without a user's action


def refusal(events: Iterable[Mapping[str, Any]]) -> str:
    """Returns why a Job's controller could not create a pod, from its newest FailedCreate Event; empty without one."""
    failed = [event for event in events if event.get("reason") == "FailedCreate"]
    newest: Mapping[str, Any] = max(failed, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime")), default={})
    return str(newest.get("message", ""))


def exceeds_quota(message: str) -> bool:
    """Whether a pod exceeds a quota, so that it can be created once other pods are gone."""
    return "exceeded quota" in message


def in_trouble(container: Container) -> bool:
    """Whether the container waits for a reason that is no part of an ordinary start."""
    return container.waiting is not None and container.waiting.reason in _TROUBLE


def blocked(pods: Iterable[Pod], owner: Mapping[str, Any] | None, now: datetime) -> Blocked | None:
    """Returns why a pod doesn't start. A reason that a user must fix precedes a lack of capacity.

    Evicted pods stay listed for long, so they count only if there is no other reason.

    Args:
        pods: pods of ``owner``.
        owner: the Job or Deployment; None if it doesn't exist.
        now: the current time, to compute how long an init container has run.
    """
    pods = list(pods)
    known = _declared((owner or {}).get("spec", {}).get("template", {}))
    found = [why for pod in pods for why in (*_of_pod(pod), *_endless(pod, known.keys(), now))]
    found += _of_owner(owner or {})
    return min(found, key=lambda why: why.capacity, default=next(_evicted(pods), None))


def _declared(pod: Pod) -> dict[str, Mapping[str, Any]]:
    """Returns the init containers of a pod or a pod template, by name."""
    return {container["name"]: container for container in pod.get("spec", {}).get("initContainers") or ()}


def _endless(pod: Pod, known: Collection[str], now: datetime) -> Iterator[Blocked]:
    """Finds an injected init container that doesn't end, such as one that waits for a server."""
    declared = _declared(pod)
    for container in init_containers(pod):
        since = container.running_since
        sidecar = declared.get(container.name, {}).get("restartPolicy") == "Always" and container.started
        if container.name not in known and not sidecar and times.seconds_since(since, now) > INIT_SECONDS:
            text = f"{name(pod)}, init container {container.name}, which Tunecast did not add, has run since {since}"
            yield Blocked("InitContainerRuns", f"{text}: see its log, or exclude these pods from its injection")


def _evicted(pods: Iterable[Pod]) -> Iterator[Blocked]:
    for pod in pods:
        if reason(pod) == EVICTED:
            yield Blocked(EVICTED, f"{name(pod)}: {message(pod)}", capacity=True)


def _of_pod(pod: Pod) -> Iterator[Blocked]:
    for found in conditions(pod):
        if (found.type, found.status) == ("PodScheduled", "False"):
            yield Blocked(found.reason or "Unschedulable", f"{name(pod)}: {found.message}", capacity=True)
    for container in [*init_containers(pod), *containers(pod)]:
        if container.waiting and in_trouble(container):
            text = f"{name(pod)}, container {container.name}: {container.waiting.message}"
            yield Blocked(container.waiting.reason, text)


def _of_owner(owner: Mapping[str, Any]) -> Iterator[Blocked]:
    """Finds out whether a Deployment can't create its pods."""
    for condition in owner.get("status", {}).get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            message = condition.get("message", "")
            yield Blocked(condition.get("reason", "FailedCreate"), message, exceeds_quota(message))
