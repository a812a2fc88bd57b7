"""How a manifest and a proof are told in status: for people, in the units they think in."""

from __future__ import annotations

from typing import Any

from tunecast_cache.manifest import Manifest, Proof
from tunecast_cache.records import to_json


def seconds_text(seconds: float) -> str:
    """63.42 -> "63.4s"."""
    return f"{seconds:.1f}s"


def size_text(size: int) -> str:
    """51170509 -> "48.8 MiB"."""
    amount, unit = float(size), "B"
    for bigger in ("KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004
            break
        amount, unit = amount / 1024, bigger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def proof_status(proof: Proof) -> dict[str, Any]:
    """The proof, and what of it is printed in columns."""
    cold, warm = proof.cold.total_seconds, proof.warm.total_seconds
    return {
        "cold": seconds_text(cold),
        "warm": seconds_text(warm),
        "speedup": f"{cold / warm:.1f}x" if warm else "",
        "verdict": proof.verdict,
        "outputs": proof.outputs,
        "proof": to_json(proof),
    }


def bundle_status(manifest: Manifest) -> dict[str, Any]:
    """What a published bundle is and was proved to do."""
    return {
        **proof_status(manifest.proof),
        "size": size_text(manifest.size),
        "sizeBytes": manifest.size,
        "environment": dict(manifest.environment),
        "madeWith": made_with(manifest),
        "notes": to_json(manifest.notes),
    }


def made_with(manifest: Manifest) -> dict[str, Any]:
    """What replicas are compared with."""
    made = manifest.provenance
    found = {
        "image": manifest.engine_image,
        "imageID": made.image_id,
        "gpu": made.gpu,
        "driver": made.driver,
        "modelCommit": made.model_commit,
        "python": made.python,
        "versions": made.versions,
    }
    return {name: value for name, value in found.items() if value}


def ineffective_because(proof: Proof) -> str:
    """Why a bundle that works isn't worth shipping."""
    if not any(rank.layers for rank in proof.ranks):
        return f"{proof.reason or 'the engine left no files'}: replicas start cold"
    cold, warm = seconds_text(proof.cold.total_seconds), seconds_text(proof.warm.total_seconds)
    if proof.warm.total_seconds >= proof.cold.total_seconds:
        return f"the warm start took {warm}, the cold one {cold}: replicas start cold"
    reasons = sorted(
        {f"{layer.layer}: {layer.reason}" for rank in proof.ranks for layer in rank.layers if layer.reason}
    )
    return f"no layer hit on every rank, so replicas start cold: {'; '.join(reasons)}"
