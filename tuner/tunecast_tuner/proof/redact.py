"""Values of secrets, kept out of all that a rank says: its log, its result, and so status, Events and S3."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tunecast_core.records import job
from tunecast_core.records.manifest import LayerNote, LayerProof, Proof, RankProof
from tunecast_core.trust.secret_values import parts

INSTEAD = b"[redacted]"


class Redactor:
    """Knows values; shorter ones than a secret's shortest are found everywhere, and stay."""

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        known = {part for value in values for part in parts(value)}
        self._values = sorted(known, key=len, reverse=True)  # a value may hold another one

    def line(self, data: bytes) -> bytes:
        for value in self._values:
            data = data.replace(value, INSTEAD)
        return data

    def text(self, text: str) -> str:
        return self.line(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def result(self, result: job.RankResult) -> job.RankResult:
        """With every text in it that an engine, an operator or a file's name had a say in."""
        notes = tuple(LayerNote(note.layer, note.state, self.text(note.reason)) for note in result.notes)
        return replace(result, message=self.text(result.message), notes=notes, proof=self._proof(result.proof))

    def _proof(self, proof: Proof | None) -> Proof | None:
        if proof is None:
            return None
        sweep = proof.sweep and replace(proof.sweep, refusal=self.text(proof.sweep.refusal))
        ranks = tuple(self.rank(rank) for rank in proof.ranks)
        return replace(proof, reason=self.text(proof.reason), ranks=ranks, sweep=sweep)

    def rank(self, proof: RankProof) -> RankProof:
        tactics = proof.tactics
        if tactics:
            lacking, mismatches = map(self.text, tactics.lacking), map(self.text, tactics.mismatches)
            tactics = replace(tactics, lacking=tuple(lacking), mismatches=tuple(mismatches))
        return replace(proof, layers=tuple(self._layer(layer) for layer in proof.layers), tactics=tactics)

    def _layer(self, layer: LayerProof) -> LayerProof:
        return replace(
            layer, reason=self.text(layer.reason), examples=tuple(self.text(example) for example in layer.examples)
        )
