"""Redacts values of secrets in the log and the result of a rank, and thereby in status, Events and S3."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tunecast_core.records import job
from tunecast_core.records.manifest import LayerNote, LayerProof, Proof, RankProof
from tunecast_core.trust.secret_values import parts

INSTEAD = b"[redacted]"


class Redactor:
    """Replaces the parts of secret values. Parts that are too short to be recognised are not replaced."""

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        known = {part for value in values for part in parts(value)}
        self._values = sorted(known, key=len, reverse=True)  # a value may contain another one

    def line(self, data: bytes) -> bytes:
        for value in self._values:
            data = data.replace(value, INSTEAD)
        return data

    def text(self, text: str) -> str:
        return self.line(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def result(self, result: job.RankResult) -> job.RankResult:
        """Redacts every text of a result that may come from an engine, a FlashInfer operator or a file's name."""
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
