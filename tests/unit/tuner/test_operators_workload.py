"""The results of a replay: the verdict on each layer, the gate for tactics, and the messages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunecast_core.bundle import flashinfer
from tunecast_core.records import job
from tunecast_core.records.manifest import Archive, RankProof, Start, Tactics
from tunecast_tuner.flashinfer_ops.records import Lacking, Report
from tunecast_tuner.flashinfer_ops.table import Problem
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.workloads import exchange
from tunecast_tuner.workloads.flashinfer_ops import check_tactics, described, judge, tactics

FILE = Archive(flashinfer.LAYER, "digest", 9, 9, 1)
KERNELS = Archive("FlashInferJIT", "digest", 9, 9, 3)
PROBLEM = Problem("bmm_fp8", "qkv", {"n": 2, "k": 1})
TUNED = Report(entries=4, hits=4, tactics={"gemm": ["Runner", 1]})


@pytest.mark.parametrize(
    ("archive", "rebuilt", "report", "verdict", "words"),
    [
        (FILE, [], TUNED, "Hit", ""),
        (FILE, [], replace(TUNED, misses=1), "Partial", "1 of 5 look-ups found no tactic"),
        (FILE, [], replace(TUNED, hits=0, misses=4), "Miss", "4 of 4 look-ups found no tactic"),
        (
            FILE,
            [],
            replace(TUNED, hits=0, misses=4, mismatches=("gpu is A", "cuda is B")),
            "Miss",
            "gpu is A; cuda is B",
        ),
        (KERNELS, [], replace(TUNED, misses=4), "Hit", ""),
        (KERNELS, ["a"], TUNED, "Partial", "the warm start rebuilt a, and the bundle has 3 files of this layer"),
    ],
)
def test_the_verdict_on_a_layer(archive: Archive, rebuilt: list[str], report: Report, verdict: str, words: str) -> None:
    proof = judge(archive, rebuilt, report)
    assert (proof.layer, proof.verdict, proof.reason) == (archive.layer, verdict, words)


def proof_of(found: Tactics | None, rank: int = 1) -> RankProof:
    return RankProof(rank, Start(1.0), (), "Inconclusive", tactics=found)


def test_what_a_replay_shows() -> None:
    lacking = (Lacking(PROBLEM, "ValueError: no"),)
    everywhere = ("mm_fp4 o: not on rank 0", "bmm_fp8 qkv (n=2, k=1): ValueError: no")
    found = tactics(replace(TUNED, misses=2, lacking=lacking, mismatches=("gpu is A",)), everywhere[:1])
    assert found == Tactics(4, 4, 2, flashinfer.digest(TUNED.tactics), everywhere, ("gpu is A",))


@pytest.mark.parametrize(
    "replayed",
    [
        TUNED,
        replace(TUNED, misses=1, tactics={"gemm": ["Runner", -1]}),  # reported by the layer's verdict
    ],
)
def test_ranks_that_pass_the_gate(replayed: Report) -> None:
    check_tactics(TUNED, [proof_of(tactics(TUNED)), proof_of(tactics(replayed), 2), proof_of(None, 3)])


@pytest.mark.parametrize(
    ("replayed", "words"),
    [
        (replace(TUNED, tactics={"gemm": ["Runner", 2]}), "rank 2 replayed"),
        (
            replace(TUNED, tactics={}, lacking=(Lacking(PROBLEM, "no"),)),
            r"can't run there: bmm_fp8 qkv \(n=2, k=1\): no",
        ),
    ],
)
def test_a_rank_that_does_not(replayed: Report, words: str) -> None:
    with pytest.raises(AttemptError, match=words) as caught:
        check_tactics(TUNED, [proof_of(tactics(TUNED)), proof_of(tactics(replayed), 2)])
    assert caught.value.reason == job.TACTICS_DIFFER


def test_what_rank_0_lacks_is_no_rank_s_difference() -> None:
    tuned = replace(TUNED, lacking=(Lacking(PROBLEM, "no"),))
    replayed = tactics(replace(TUNED, tactics={"gemm": ["Runner", 2]}), described(tuned.lacking))
    with pytest.raises(AttemptError, match=r"rank 0 tuned \w+$"):
        check_tactics(tuned, [proof_of(replayed)])


def test_a_rank_in_one_line() -> None:
    proof = replace(proof_of(None), layers=(judge(FILE, [], TUNED), judge(KERNELS, ["a"], TUNED)))
    assert exchange.summary(proof) == (
        "rank 1: warm in 1.0 s, outputs Inconclusive: FlashInferAutotune Hit, FlashInferJIT Partial"
    )
