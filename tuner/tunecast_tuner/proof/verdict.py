"""Combines the measurements of all ranks into one verdict. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from tunecast_core.records import job
from tunecast_core.records.manifest import Archive, Proof, RankProof, Start, Verdict
from tunecast_tuner.proof.outputs import worst
from tunecast_tuner.rank.failures import AttemptError


def assemble(mode: Literal["Peer", "SamePod"], cold: Start, ranks: Sequence[RankProof]) -> Proof:
    """Builds the proof. Its verdict is Hit if every layer hit on every rank, Miss if none hit, and else Partial."""
    layers = [(rank.rank, layer) for rank in ranks for layer in rank.layers]
    hits = sum(layer.verdict == "Hit" for _, layer in layers)
    verdict: Verdict = "Miss" if not hits else "Hit" if hits == len(layers) else "Partial"
    reasons = [f"rank {rank}: {layer.layer}: {layer.reason}" for rank, layer in layers if layer.verdict != "Hit"]
    reason = "; ".join(reasons[:3]) if layers else "the cold start left no files that a layer takes"
    return Proof(mode, verdict, worst(rank.outputs for rank in ranks), cold, tuple(ranks), reason)


def check_installed(archives: Sequence[Archive], rank: int, digests: Mapping[str, str]) -> None:
    """Verifies that ``rank`` installed exactly the archives that were sent.

    Raises:
        AttemptError: INSTALL_FAILED, with the first layer that differs.
    """
    expected = {archive.layer: archive.digest for archive in archives}
    for layer in sorted(expected.keys() | digests.keys()):
        if expected.get(layer) != digests.get(layer):
            raise AttemptError(
                job.INSTALL_FAILED,
                f"rank {rank} installed {digests.get(layer)} as {layer}, but {expected.get(layer)} was sent",
            )
