"""Classifies how an attempt ended, from all its pods and the results that its ranks staged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tunecast_core.errors import MalformedError
from tunecast_core.records import job as reasons
from tunecast_core.records.codec import decode
from tunecast_core.records.job import RankResult
from tunecast_operator.pods import (
    Pod,
    condition,
    containers,
    engine,
    engine_name,
    init_containers,
    message,
    over,
    reason,
)


class OutcomeKind(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "Succeeded"
    REJECTED = "Rejected"  # a retry would end in the same way
    CRASHED = "Crashed"
    DISRUPTED = "Disrupted"  # not the attempt's fault, so it isn't counted as a failure
    UNSCHEDULED = "Unscheduled"  # not all ranks ever ran, so the attempt is requeued, and isn't counted at all


class AttemptReason(StrEnum):
    """Reasons of failed attempts that the operator finds. Ranks report others."""

    DISRUPTED = "Disrupted"
    JOB_DELETED = "JobDeleted"
    RANK_DIED = "RankDied"
    RESULT_MISSING = "ResultMissing"
    JOB_FAILED = "JobFailed"
    TOOLS_FAILED = "ToolsFailed"
    OUT_OF_STORAGE = "OutOfStorage"
    RANKS_NOT_SCHEDULED = "RanksNotScheduled"


SIGNALLED = 128  # plus the signal: the exit code of a process that a signal ended

_KINDS: dict[str, OutcomeKind] = {
    reasons.ENGINE_REJECTED: OutcomeKind.REJECTED,
    reasons.BAD_SETTINGS: OutcomeKind.REJECTED,
    reasons.SWEEP_REFUSED: OutcomeKind.REJECTED,
    reasons.UPLOAD_FAILED: OutcomeKind.DISRUPTED,  # the store's fault, or the network's
}
_NOT_AT_FAULT = {reasons.PEER_LOST, reasons.TERMINATED}


@dataclass(frozen=True, slots=True)
class Outcome:
    kind: OutcomeKind
    reason: str
    message: str
    rank: int | None = None


def finished(job: Mapping[str, Any]) -> bool:
    """Whether the Job has finished, so that no pod of it will start again."""
    ends = {"Complete", "Failed"}
    return any(c["type"] in ends and c["status"] == "True" for c in job.get("status", {}).get("conditions", ()))


def engines_ended(job: Mapping[str, Any], pods: Iterable[Pod]) -> bool:
    """Whether every rank's engine container has terminated, whatever the other containers of its pod do."""
    ended = {rank_of(pod) for pod in pods if engine(pod).terminated}
    return len(ended) == int(job.get("spec", {}).get("completions", 0)) > 0


def held_by_sidecars(pods: Iterable[Pod]) -> bool:
    """Whether another container keeps some pod running although its engine container has terminated.

    The phase alone doesn't show it: a kubelet reports terminated containers some seconds before the pod's last phase.
    """
    return any(engine(pod).terminated and not over(pod) and _others_go_on(pod) for pod in pods)


def _others_go_on(pod: Pod) -> bool:
    """Whether another ordinary container still runs. The kubelet ends native sidecars after the engine."""
    return any(container.name != engine_name(pod) and not container.terminated for container in containers(pod))


def rank_ended(pod: Pod) -> bool:
    """Whether a rank can't stage anything any more."""
    return over(pod) or engine(pod).terminated is not None


def attempt_ended(job: Mapping[str, Any], pods: Iterable[Pod]) -> bool:
    """Whether the attempt has ended, even if a sidecar that never ends keeps its Job running.

    A Job fails with its first pod. An attempt whose engine failed beside a sidecar fails once no engine runs: otherwise
    a rank that never started would be awaited forever.
    """
    pods = list(pods)
    failed = any(map(_exit_code, pods)) and all(engine(pod).running_since is None for pod in pods)
    return finished(job) or (held_by_sidecars(pods) and (failed or engines_ended(job, pods)))


def succeeded(job: Mapping[str, Any]) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)


def rank_of(pod: Pod) -> int:
    number = (pod["metadata"].get("annotations") or {}).get("batch.kubernetes.io/job-completion-index", "")
    return int(number) if number.isdecimal() else -1


def of_job(pod: Pod, name: str) -> bool:
    """Whether the Job ``name`` owns the pod. Labels don't prove it, since anybody can set them."""
    owners = pod["metadata"].get("ownerReferences", ())
    return ("Job", name) in {(owner.get("kind"), owner.get("name")) for owner in owners}


def results_of(pods: Iterable[Pod], staged: Mapping[int, RankResult]) -> dict[int, RankResult]:
    """Returns the last result of each rank: the staged one, else the one in the termination message."""
    results = dict(staged)
    for pod in pods:
        rank, text = rank_of(pod), _termination_message(pod)
        if rank in results or not text.startswith("{"):
            continue
        try:
            results[rank] = decode(RankResult, text.encode(), f"the termination message of rank {rank}")
        except MalformedError:
            continue  # the engine's own message: the exit code is classified instead
    return results


def classify(job: Mapping[str, Any], pods: Iterable[Pod], staged: Mapping[int, RankResult]) -> Outcome:
    """Returns the outcome of an attempt. A rank's own failure precedes what other ranks observed of it.

    Args:
        job: finished, or with engine containers that have all terminated.
        pods: those of its pods that still exist.
        staged: the results that ranks uploaded, by rank.
    """
    pods = list(pods)
    results = results_of(pods, staged)
    if succeeded(job) or (engines_ended(job, pods) and not any(map(_exit_code, pods))):
        return _success(results)
    if unjoined := next((r for r in results.values() if r.reason == reasons.JOIN_TIMED_OUT), None):
        return _never_joined(unjoined, job, pods)
    own_fault = [r for r in results.values() if not r.succeeded and r.reason not in _NOT_AT_FAULT]
    for result in sorted(own_fault, key=lambda r: (_KINDS.get(r.reason) != OutcomeKind.REJECTED, r.rank)):
        return Outcome(
            _KINDS.get(result.reason, OutcomeKind.CRASHED),
            _word(result.reason),
            f"rank {result.rank}: {result.message}",
            result.rank,
        )
    return _disruption(pods) or _tools_failed(pods) or _killed(pods) or _lost(results, job)


def _never_joined(result: RankResult, job: Mapping[str, Any], pods: Iterable[Pod]) -> Outcome:
    """Blames the network only if every rank ran."""
    started = len({rank_of(pod) for pod in pods if engine(pod).has_run})
    ranks = int(job.get("spec", {}).get("completions", 0))
    kind: OutcomeKind = OutcomeKind.CRASHED if started >= ranks else OutcomeKind.UNSCHEDULED
    reason = reasons.JOIN_TIMED_OUT if kind == OutcomeKind.CRASHED else AttemptReason.RANKS_NOT_SCHEDULED
    return Outcome(kind, reason, f"rank {result.rank}: {result.message}", result.rank)


def _word(reason: str) -> str:
    """Returns the reason if a condition can have it, which takes one short CamelCase word; otherwise a general one."""
    return reason if re.fullmatch(r"[A-Z][A-Za-z0-9]{0,63}", reason) else reasons.INTERNAL


def _success(results: Mapping[int, RankResult]) -> Outcome:
    leader = results.get(0)
    if leader is None or not leader.succeeded or leader.proof is None or not leader.proof.ranks:
        return Outcome(
            OutcomeKind.CRASHED,
            AttemptReason.RESULT_MISSING,
            "all ranks succeeded, but rank 0 staged no result: see its log",
            0,
        )
    return Outcome(OutcomeKind.SUCCEEDED, leader.reason, leader.message)


def _disruption(pods: Iterable[Pod]) -> Outcome | None:
    for pod in pods:
        target = condition(pod, "DisruptionTarget")
        if target or reason(pod) in {"Evicted", "NodeLost", "Shutdown", "Terminated"}:
            why = (target.message if target else "") or message(pod) or reason(pod)
            if storage := _out_of_storage(why, rank_of(pod)):
                return storage
            return Outcome(
                OutcomeKind.DISRUPTED,
                AttemptReason.DISRUPTED,
                f"rank {rank_of(pod)} was disrupted: {why}",
                rank_of(pod),
            )
    return None


def _out_of_storage(why: str, rank: int) -> Outcome | None:
    """Recognises an eviction for ephemeral storage by the kubelet's message."""
    if "exceed" in why and ("ephemeral" in why or "EmptyDir" in why):
        hint = "raise limits.ephemeral-storage of its container, or the limit that a LimitRange or a policy sets"
        return Outcome(
            OutcomeKind.REJECTED,
            AttemptReason.OUT_OF_STORAGE,
            f"rank {rank} was evicted: {why.strip()} {hint.capitalize()}",
            rank,
        )
    if "low on resource: ephemeral-storage" in why:
        hint = "set requests.ephemeral-storage of its container, so that ranks go where there is room"
        return Outcome(
            OutcomeKind.CRASHED,
            AttemptReason.OUT_OF_STORAGE,
            f"rank {rank} was evicted: {why.strip()} {hint.capitalize()}",
            rank,
        )
    return None


def _tools_failed(pods: Iterable[Pod]) -> Outcome | None:
    """Finds a rank whose init container failed, so that the engine's container never started."""
    for pod in pods:
        for container in init_containers(pod):
            ended = container.terminated
            if ended and ended.exit_code:
                named = f"{ended.reason}, " if ended.reason else ""
                why = ended.message or f"{named}exit code {ended.exit_code}: see its log"
                text = f"rank {rank_of(pod)}, init container {container.name}: {why}"
                return Outcome(OutcomeKind.CRASHED, AttemptReason.TOOLS_FAILED, text, rank_of(pod))
    return None


def _killed(pods: Iterable[Pod]) -> Outcome | None:
    """Finds a rank that was killed before it staged a result: it ran out of memory, or got a signal."""
    for pod in sorted(pods, key=rank_of):
        ended, rank = engine(pod).terminated, rank_of(pod)
        if ended is None:
            continue
        if ended.reason == "OOMKilled":
            text = f"rank {rank} ran out of memory: raise the memory limit of its container"
            return Outcome(OutcomeKind.CRASHED, reasons.ENGINE_OUT_OF_MEMORY, text, rank)
        if ended.exit_code > SIGNALLED and not ended.message.startswith("{"):
            text = f"rank {rank} was killed by signal {ended.exit_code - SIGNALLED}"
            return Outcome(OutcomeKind.DISRUPTED, AttemptReason.RANK_DIED, text, rank)
    return None


def _lost(results: Mapping[int, RankResult], job: Mapping[str, Any]) -> Outcome:
    for result in results.values():
        if result.reason == reasons.PEER_LOST:
            rank = result.lost_rank
            return Outcome(OutcomeKind.DISRUPTED, reasons.PEER_LOST, f"rank {result.rank}: {result.message}", rank)
    for result in results.values():
        if result.reason == reasons.TERMINATED:
            return Outcome(
                OutcomeKind.DISRUPTED, reasons.TERMINATED, f"rank {result.rank}: {result.message}", result.rank
            )
    failed: Mapping[str, Any] = next(
        (c for c in job.get("status", {}).get("conditions", ()) if c["type"] == "Failed"), {}
    )
    return Outcome(
        OutcomeKind.CRASHED,
        AttemptReason.JOB_FAILED,
        failed.get("message", "no rank left a result: see the Job's events"),
    )


def _exit_code(pod: Pod) -> int:
    """Returns the engine's exit code; 0 while it has not ended."""
    ended = engine(pod).terminated
    return ended.exit_code if ended else 0


def _termination_message(pod: Pod) -> str:
    """Returns the engine's termination message; empty while it has not ended."""
    ended = engine(pod).terminated
    return ended.message if ended else ""
