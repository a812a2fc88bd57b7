import json
from typing import Any

import pytest

from tunecast_core.records import job as reasons
from tunecast_core.records.job import RankResult
from tunecast_core.records.manifest import LayerProof, Proof, RankProof, Start
from tunecast_operator.plan.outcome import classify, finished

COMPLETE = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
FAILED = {"status": {"conditions": [{"type": "Failed", "status": "True", "message": "backoff limit"}]}}
PROOF = Proof(
    "Peer",
    "Hit",
    "Identical",
    Start(60),
    (RankProof(1, Start(20), (LayerProof("TorchCompile", "Hit", 9, 0),), "Identical"),),
)


def result(rank: int, reason: str, lost: int | None = None, proof: Proof | None = None) -> RankResult:
    return RankResult(rank, succeeded=proof is not None, reason=reason, message="words", lost_rank=lost, proof=proof)


def pod(rank: int, *, message: str = "", code: int = 1, reason: str = "Error", **status: Any) -> dict[str, Any]:
    ended = {"name": "engine", "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}
    return {
        "metadata": {
            "name": f"p-{rank}",
            "annotations": {"batch.kubernetes.io/job-completion-index": str(rank), "tunecast.io/container": "engine"},
        },
        "status": {"containerStatuses": [ended], **status},
    }


def evicted(rank: int, words: str) -> dict[str, Any]:
    found = pod(rank, code=137)
    found["status"] |= {"phase": "Failed", "reason": "Evicted", "message": words}
    return found


DISRUPTION = [{"type": "DisruptionTarget", "status": "True", "message": "preempted"}]
STORAGE = {  # messages of the kubelet
    "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ": "Rejected",
    'Container engine exceeded its local ephemeral storage limit "1Gi". ': "Rejected",
    'Usage of EmptyDir volume "tunecast-cache" exceeds the limit "100Mi". ': "Rejected",
    "The node was low on resource: ephemeral-storage. Threshold quantity: 1, available: 0. ": "Crashed",
}
SAID = json.dumps({"rank": 1, "succeeded": False, "reason": "EngineCrashed", "message": "boom"})


@pytest.mark.parametrize(
    ("job", "pods", "staged", "kind", "reason", "rank"),
    [
        (COMPLETE, [], {0: result(0, "Proved", proof=PROOF)}, "Succeeded", "Proved", None),
        (COMPLETE, [], {}, "Crashed", "ResultMissing", 0),
        (COMPLETE, [], {0: result(0, "Proved")}, "Crashed", "ResultMissing", 0),
        (FAILED, [pod(1)], {1: result(1, reasons.ENGINE_REJECTED), 0: result(0, reasons.PEER_LOST, 1)},
         "Rejected", reasons.ENGINE_REJECTED, 1),
        (FAILED, [], {0: result(0, reasons.ENGINE_CRASHED), 1: result(1, reasons.ENGINE_REJECTED)},
         "Rejected", reasons.ENGINE_REJECTED, 1),
        (FAILED, [pod(1, message=SAID)], {0: result(0, reasons.PEER_LOST, 1)}, "Crashed", "EngineCrashed", 1),
        (FAILED, [pod(0, code=137)], {1: result(1, reasons.PEER_LOST, 0)}, "Disrupted", "RankDied", 0),
        (FAILED, [pod(0, code=137, reason="OOMKilled")], {}, "Crashed", reasons.ENGINE_OUT_OF_MEMORY, 0),
        (FAILED, [pod(0, code=137, conditions=DISRUPTION)], {}, "Disrupted", "Disrupted", 0),
        (FAILED, [], {1: result(1, reasons.PEER_LOST, 0)}, "Disrupted", reasons.PEER_LOST, 0),
        (FAILED, [], {0: result(0, reasons.TERMINATED)}, "Disrupted", reasons.TERMINATED, 0),
        (FAILED, [], {0: result(0, reasons.UPLOAD_FAILED)}, "Disrupted", reasons.UPLOAD_FAILED, 0),
        (FAILED, [], {0: result(0, "no word" * 999)}, "Crashed", reasons.INTERNAL, 0),
        (FAILED, [], {}, "Crashed", "JobFailed", None),
        *((FAILED, [evicted(1, words)], {0: result(0, reasons.PEER_LOST, 1)}, kind, "OutOfStorage", 1)
          for words, kind in STORAGE.items()),
        (FAILED, [evicted(1, "The node was low on resource: memory. ")], {}, "Disrupted", "Disrupted", 1),
    ],
)  # fmt: skip
def test_classify(
    job: dict[str, Any],
    pods: list[dict[str, Any]],
    staged: dict[int, RankResult],
    kind: str,
    reason: str,
    rank: int | None,
) -> None:
    outcome = classify(job, pods, staged)
    assert (outcome.kind, outcome.reason, outcome.rank) == (kind, reason, rank)


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        ({"exitCode": 1, "message": "no such file"}, "no such file"),
        ({"exitCode": 1, "reason": "Error"}, "Error, exit code 1: see its log"),
        ({"exitCode": 1}, "exit code 1: see its log"),
    ],
)
def test_a_failed_init_container_is_reported_by_its_message_or_its_exit_code(ended: dict[str, Any], words: str) -> None:
    """It is the init container that brings the rank program, so no rank can report anything."""
    status = {"name": "tunecast-tools", "state": {"terminated": ended}}
    outcome = classify(FAILED, [{**pod(0), "status": {"initContainerStatuses": [status]}}], {})
    assert (outcome.kind, outcome.reason, outcome.rank) == ("Crashed", "ToolsFailed", 0)
    assert outcome.message == f"rank 0, init container tunecast-tools: {words}"


@pytest.mark.parametrize(("job", "expected"), [(COMPLETE, True), (FAILED, True), ({}, False)])
def test_finished(job: dict[str, Any], expected: bool) -> None:
    assert finished(job) is expected
