from __future__ import annotations

import pytest

from tunecast_core.records import job
from tunecast_core.records.manifest import Archive, LayerProof, RankProof, Start, Verdict
from tunecast_tuner.proof.verdict import assemble, check_installed
from tunecast_tuner.rank.failures import AttemptError

COLD = Start(40.0)


def rank_proof(number: int, *verdicts: Verdict, seconds: float = 20.0) -> RankProof:
    layers = tuple(
        LayerProof(f"Layer{i}", v, 3, 0 if v == "Hit" else 1, "" if v == "Hit" else "why")
        for i, v in enumerate(verdicts)
    )
    return RankProof(number, Start(seconds), layers, "Identical")


@pytest.mark.parametrize(
    ("ranks", "verdict"),
    [
        ([("Hit", "Hit"), ("Hit", "Hit")], "Hit"),
        ([("Hit", "Hit"), ("Hit", "Miss")], "Partial"),
        ([("Partial",)], "Miss"),
        ([("Miss", "Miss")], "Miss"),
        ([()], "Miss"),
    ],
)
def test_verdict_of_the_whole(ranks: list[tuple[Verdict, ...]], verdict: Verdict) -> None:
    proofs = [rank_proof(number, *verdicts) for number, verdicts in enumerate(ranks, 1)]
    assert assemble("Peer", COLD, proofs).verdict == verdict


def test_the_reason_names_rank_and_layer() -> None:
    proof = assemble("Peer", COLD, [rank_proof(1, "Hit"), rank_proof(2, "Hit", "Partial")])
    assert proof.reason == "rank 2: Layer1: why"
    assert proof.outputs == "Identical"


def test_an_empty_bundle_is_reported() -> None:
    assert "no files" in assemble("SamePod", COLD, [rank_proof(0)]).reason


ARCHIVES = (Archive("A", "1" * 64, 1, 1, 1), Archive("B", "2" * 64, 1, 1, 1))


def test_the_gate_opens_for_the_same_digests() -> None:
    check_installed(ARCHIVES, 1, {"A": "1" * 64, "B": "2" * 64})


@pytest.mark.parametrize(
    "digests", [{}, {"A": "1" * 64}, {"A": "1" * 64, "B": "0" * 64}, {"A": "1" * 64, "B": "2" * 64, "C": "3" * 64}]
)
def test_the_gate_is_hard(digests: dict[str, str]) -> None:
    with pytest.raises(AttemptError, match="rank 1 installed") as caught:
        check_installed(ARCHIVES, 1, digests)
    assert caught.value.reason == job.INSTALL_FAILED
