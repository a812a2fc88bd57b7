"""How one attempt of a tuning Job ended, judged over all its pods and what its ranks staged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunecast_cache import job as reasons
from tunecast_cache.errors import MalformedError
from tunecast_cache.job import RankResult
from tunecast_cache.records import decode
from tunecast_operator.pods import engine_name, engine_status

# Rejected: a retry would end the same way. Disrupted: not the attempt's fault, so it isn't counted as a crash.
# Unscheduled: not all ranks ever ran, so the attempt is queued again, and isn't counted at all.
Kind = Literal["Succeeded", "Rejected", "Crashed", "Disrupted", "Unscheduled"]

DISRUPTED = "Disrupted"
JOB_DELETED = "JobDeleted"
RANK_DIED = "RankDied"
RESULT_MISSING = "ResultMissing"
JOB_FAILED = "JobFailed"
TOOLS_FAILED = "ToolsFailed"
OUT_OF_STORAGE = "OutOfStorage"
RANKS_NOT_SCHEDULED = "RanksNotScheduled"

_KINDS: dict[str, Kind] = {
    reasons.ENGINE_REJECTED: "Rejected",
    reasons.BAD_SETTINGS: "Rejected",
    reasons.SWEEP_REFUSED: "Rejected",
    reasons.UPLOAD_FAILED: "Disrupted",  # the store's fault, or the network's
}
_NOT_AT_FAULT = {reasons.PEER_LOST, reasons.TERMINATED}


@dataclass(frozen=True, slots=True)
class Outcome:
    kind: Kind
    reason: str
    message: str
    rank: int | None = None


def finished(job: Mapping[str, Any]) -> bool:
    """Its end is decided: no pod of it will start again."""
    ends = {"Complete", "Failed"}
    return any(c["type"] in ends and c["status"] == "True" for c in job.get("status", {}).get("conditions", ()))


def engines_ended(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every rank's engine container has terminated, whatever the other containers of its pod do."""
    ended = {rank_of(pod) for pod in pods if _termination(pod)}
    return len(ended) == int(job.get("spec", {}).get("completions", 0)) > 0


def held_by_sidecars(pods: Iterable[Mapping[str, Any]]) -> bool:
    """Whether another container keeps some pod running although its engine container has terminated.

    The phase alone doesn't tell: a kubelet reports terminated containers some seconds before the pod's last phase.
    """
    return any(_termination(pod) and not _over(pod) and _others_go_on(pod) for pod in pods)


def _others_go_on(pod: Mapping[str, Any]) -> bool:
    """A native sidecar, which is an init container, doesn't count: the kubelet ends it after the engine."""
    engine = engine_name(pod)
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return any(s["name"] != engine and "terminated" not in s.get("state", {}) for s in statuses)


def rank_ended(pod: Mapping[str, Any]) -> bool:
    """Whether a rank can't stage anything any more."""
    return _over(pod) or bool(_termination(pod))


def _over(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def attempt_ended(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the attempt's end is decided, which a sidecar that never ends keeps its Job from seeing.

    A Job fails with its first pod. So does an attempt whose engine failed beside a sidecar, once no engine runs: a rank
    that never started would otherwise be waited for without end.
    """
    pods = list(pods)
    failed = any(_termination(pod).get("exitCode") for pod in pods) and not any(_engine_runs(pod) for pod in pods)
    return finished(job) or (held_by_sidecars(pods) and (failed or engines_ended(job, pods)))


def succeeded(job: Mapping[str, Any]) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)


def rank_of(pod: Mapping[str, Any]) -> int:
    number = (pod["metadata"].get("annotations") or {}).get("batch.kubernetes.io/job-completion-index", "")
    return int(number) if number.isdecimal() else -1


def of_job(pod: Mapping[str, Any], name: str) -> bool:
    """Whether it is a pod of the Job ``name``; anybody can give one its labels."""
    owners = pod["metadata"].get("ownerReferences", ())
    return ("Job", name) in {(owner.get("kind"), owner.get("name")) for owner in owners}


def results_of(pods: Iterable[Mapping[str, Any]], staged: Mapping[int, RankResult]) -> dict[int, RankResult]:
    """What each rank said last: as staged, else as its termination message."""
    results = dict(staged)
    for pod in pods:
        rank = rank_of(pod)
        message = _termination(pod).get("message", "")
        if rank in results or not message.startswith("{"):
            continue
        try:
            results[rank] = decode(RankResult, message.encode(), f"the termination message of rank {rank}")
        except MalformedError:
            continue  # an engine's own last words: classified by the exit code below
    return results


def classify(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], staged: Mapping[int, RankResult]) -> Outcome:
    """The one end of an attempt; what a rank did itself counts before what others saw of it.

    Args:
        job: finished, or with engine containers that have all terminated.
        pods: those of its pods that still exist.
        staged: the results that ranks uploaded, by rank.
    """
    pods = list(pods)
    results = results_of(pods, staged)
    if succeeded(job) or (engines_ended(job, pods) and not any(_termination(pod).get("exitCode") for pod in pods)):
        return _success(results)
    if unjoined := next((r for r in results.values() if r.reason == reasons.JOIN_TIMED_OUT), None):
        return _never_joined(unjoined, job, pods)
    own_fault = [r for r in results.values() if not r.succeeded and r.reason not in _NOT_AT_FAULT]
    for result in sorted(own_fault, key=lambda r: (_KINDS.get(r.reason) != "Rejected", r.rank)):
        return Outcome(
            _KINDS.get(result.reason, "Crashed"),
            _word(result.reason),
            f"rank {result.rank}: {result.message}",
            result.rank,
        )
    return _disruption(pods) or _tools_failed(pods) or _killed(pods) or _lost(results, job)


def engine_started(pod: Mapping[str, Any]) -> bool:
    """Whether a rank's engine container runs, or has run."""
    return bool(_engine_state(pod).keys() & {"running", "terminated"})


def _engine_runs(pod: Mapping[str, Any]) -> bool:
    return "running" in _engine_state(pod)


def _never_joined(result: RankResult, job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> Outcome:
    """The network is to blame only where every rank ran."""
    started = len({rank_of(pod) for pod in pods if engine_started(pod)})
    ranks = int(job.get("spec", {}).get("completions", 0))
    kind: Kind = "Crashed" if started >= ranks else "Unscheduled"
    reason = reasons.JOIN_TIMED_OUT if kind == "Crashed" else RANKS_NOT_SCHEDULED
    return Outcome(kind, reason, f"rank {result.rank}: {result.message}", result.rank)


def _word(reason: str) -> str:
    """A rank's reason becomes a condition's, which the API server takes only where it is one short word."""
    return reason if re.fullmatch(r"[A-Z][A-Za-z0-9]{0,63}", reason) else reasons.INTERNAL


def _success(results: Mapping[int, RankResult]) -> Outcome:
    leader = results.get(0)
    if leader is None or not leader.succeeded or leader.proof is None or not leader.proof.ranks:
        return Outcome("Crashed", RESULT_MISSING, "all ranks ended well, but rank 0 staged no result: see its log", 0)
    return Outcome("Succeeded", leader.reason, leader.message)


def _disruption(pods: Iterable[Mapping[str, Any]]) -> Outcome | None:
    for pod in pods:
        status = pod.get("status", {})
        target = next((c for c in status.get("conditions", ()) if c["type"] == "DisruptionTarget"), None)
        if target or status.get("reason") in {"Evicted", "NodeLost", "Shutdown", "Terminated"}:
            why = str((target or {}).get("message") or status.get("message") or status.get("reason", ""))
            if storage := _out_of_storage(why, rank_of(pod)):
                return storage
            return Outcome("Disrupted", DISRUPTED, f"rank {rank_of(pod)} was disrupted: {why}", rank_of(pod))
    return None


def _out_of_storage(why: str, rank: int) -> Outcome | None:
    """An eviction for ephemeral storage, in the kubelet's words: another attempt on such a node would end alike."""
    if "exceed" in why and ("ephemeral" in why or "EmptyDir" in why):
        hint = "raise limits.ephemeral-storage of its container, or the limit that a LimitRange or a policy sets"
        return Outcome("Rejected", OUT_OF_STORAGE, f"rank {rank} was evicted: {why.strip()} {hint.capitalize()}", rank)
    if "low on resource: ephemeral-storage" in why:
        hint = "set requests.ephemeral-storage of its container, so that ranks go where there is room"
        return Outcome("Crashed", OUT_OF_STORAGE, f"rank {rank} was evicted: {why.strip()} {hint.capitalize()}", rank)
    return None


def _tools_failed(pods: Iterable[Mapping[str, Any]]) -> Outcome | None:
    """The init container, which brings the tools, ended before the engine's container began."""
    for pod in pods:
        for status in pod.get("status", {}).get("initContainerStatuses", ()):
            ended = status.get("state", {}).get("terminated", {})
            if ended.get("exitCode", 0):
                why = ended.get("message") or f"{ended.get('reason')}, exit code {ended['exitCode']}: see its log"
                text = f"rank {rank_of(pod)}, init container {status['name']}: {why}"
                return Outcome("Crashed", TOOLS_FAILED, text, rank_of(pod))
    return None


def _killed(pods: Iterable[Mapping[str, Any]]) -> Outcome | None:
    """A rank that died without a word: by memory, or by somebody's SIGKILL."""
    for pod in sorted(pods, key=rank_of):
        ended, rank = _termination(pod), rank_of(pod)
        if ended.get("reason") == "OOMKilled":
            text = f"rank {rank} ran out of memory: raise the memory limit of its container"
            return Outcome("Crashed", reasons.ENGINE_OUT_OF_MEMORY, text, rank)
        if ended.get("exitCode", 0) > 128 and not str(ended.get("message", "")).startswith("{"):  # noqa: PLR2004
            return Outcome("Disrupted", RANK_DIED, f"rank {rank} was killed by signal {ended['exitCode'] - 128}", rank)
    return None


def _lost(results: Mapping[int, RankResult], job: Mapping[str, Any]) -> Outcome:
    for result in results.values():
        if result.reason == reasons.PEER_LOST:
            rank = result.lost_rank
            return Outcome("Disrupted", reasons.PEER_LOST, f"rank {result.rank}: {result.message}", rank)
    for result in results.values():
        if result.reason == reasons.TERMINATED:
            return Outcome("Disrupted", reasons.TERMINATED, f"rank {result.rank}: {result.message}", result.rank)
    failed: Mapping[str, Any] = next(
        (c for c in job.get("status", {}).get("conditions", ()) if c["type"] == "Failed"), {}
    )
    return Outcome("Crashed", JOB_FAILED, failed.get("message", "no rank left a result: see the Job's events"))


def _termination(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    ended: Mapping[str, Any] = _engine_state(pod).get("terminated", {})
    return ended


def _engine_state(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    state: Mapping[str, Any] = engine_status(pod).get("state", {})
    return state
