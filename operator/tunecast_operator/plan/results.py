"""Converts a manifest and a proof into status, in human-readable units."""

from __future__ import annotations

from tunecast_core.bundle.savings import Saved, least
from tunecast_core.records.codec import to_json
from tunecast_core.records.manifest import Manifest, Proof
from tunecast_operator.api.proof_status import ProofStatus
from tunecast_operator.api.status import LayerNoteStatus, MadeWith, StartupCacheStatus


def seconds_text(seconds: float) -> str:
    """Formats seconds: 63.42 becomes "63.4s"."""
    return f"{seconds:.1f}s"


def size_text(size: int) -> str:
    """Formats bytes: 51170509 becomes "48.8 MiB"."""
    amount, unit = float(size), "B"
    for bigger in ("KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004
            break
        amount, unit = amount / 1024, bigger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def proof_status(proof: Proof) -> StartupCacheStatus:
    """Returns the proof, and the fields of it that ``kubectl get`` prints."""
    saved = least(proof)
    speedup = saved and saved.speedup
    return StartupCacheStatus(
        cold=seconds_text(proof.cold.total_seconds),
        warm=seconds_text(proof.warm.total_seconds),
        speedup=f"{speedup:.1f}x" if speedup else None,
        verdict=proof.verdict,
        outputs=proof.outputs,
        proof=ProofStatus.model_validate({**to_json(proof), **({"saved": to_json(saved)} if saved else {})}),
    )


def bundle_status(manifest: Manifest) -> StartupCacheStatus:
    """Returns the status of a published bundle."""
    return proof_status(manifest.proof) | StartupCacheStatus(
        size=size_text(manifest.size),
        size_bytes=manifest.size,
        environment=dict(manifest.environment),
        hardware=manifest.hardware,
        made_with=made_with(manifest),
        notes=[LayerNoteStatus.model_validate(to_json(note)) for note in manifest.notes],
    )


def made_with(manifest: Manifest) -> MadeWith:
    """Returns what the bundle was made with, which replicas are compared with."""
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
    return MadeWith.model_validate({name: value for name, value in found.items() if value})


def ineffective_because(proof: Proof) -> str:
    """Returns why a bundle that works isn't worth publishing."""
    if not any(rank.layers for rank in proof.ranks):
        return f"{proof.reason or 'the engine left no files'}: replicas start cold"
    saved = least(proof)
    if saved and not saved.worth_it:
        return f"{too_little(saved)}: replicas start cold"
    reasons = sorted(
        {f"{layer.layer}: {layer.reason}" for rank in proof.ranks for layer in rank.layers if layer.reason}
    )
    return f"no layer hit on every rank, so replicas start cold: {'; '.join(reasons)}"


def too_little(saved: Saved) -> str:
    """Describes how little a bundle saved, and in which phases."""
    if saved.basis == "EngineInit":
        return f"the warm start's engine init was {seconds_text(saved.seconds or 0.0)} shorter than the cold one's"
    phases = ", ".join(f"{p.phase} {seconds_text(p.cold)} cold and {seconds_text(p.warm)} warm" for p in saved.phases)
    return f"the bundle saved {seconds_text(saved.seconds or 0.0)} in the phases that it can shorten ({phases})"
