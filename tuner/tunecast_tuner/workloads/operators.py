"""The operators workload: rank 0 tunes FlashInfer's operators at the model's shapes, its peers replay them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tunecast_core.bundle import flashinfer, snapshot
from tunecast_core.records import job
from tunecast_core.records.manifest import Archive, LayerNote, LayerProof, RankProof, Start, Tactics
from tunecast_tuner.engine import hub, interpreter
from tunecast_tuner.flashinfer_ops import plugin, process
from tunecast_tuner.flashinfer_ops.model import replica_ranks
from tunecast_tuner.flashinfer_ops.records import Lacking, Report, Request
from tunecast_tuner.flashinfer_ops.table import Problem
from tunecast_tuner.peers.ranks import Ranks
from tunecast_tuner.proof.verdict import assemble
from tunecast_tuner.rank.context import Context
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.rank.hardware import of_rank
from tunecast_tuner.workloads import exchange


@dataclass(frozen=True, slots=True)
class FlashInferOffer:
    """What rank 0 tells its peers before the broadcast."""

    archives: tuple[Archive, ...]
    problems: tuple[Problem, ...]
    lacking: tuple[str, ...]  # operators that don't run on rank 0, in words; no peer tries them
    size: int  # bytes of the autotune file; 0: nothing was tuned


def run(context: Context, ranks: Ranks) -> job.RankResult:
    """This rank's part of the attempt.

    Raises:
        AttemptError: it can't succeed any more.
    """
    python = interpreter.locate(context.line.program, context.environ)
    with exchange.staging(context) as staging:
        if ranks.rank == 0:
            return _lead(context, ranks, python, staging)
        return _follow(context, ranks, python, staging)


def _lead(context: Context, ranks: Ranks, python: str, staging: Path) -> job.RankResult:
    context.progress.enter("ColdStart", "tuning FlashInfer's operators at the model's shapes")
    cache = staging / flashinfer.FILE
    tuned, seconds = process.run(context, python, Request("Tune", context.settings.command, str(cache)))
    context.console.say(_summary(tuned))
    commit = hub.commit(context.line, context.environ)
    asked = context.attempt.run(lambda: interpreter.ask(python, context.environment))
    provenance = interpreter.provenance(asked, commit, of_rank(context))
    versions = {**provenance.versions, **_own_version(tuned)}
    placed = _place(context, python, cache, versions) if tuned.entries else Placed(_nothing(tuned))
    archives, notes = exchange.capture(context, context.settings.excluded_layers, staging)
    offer = FlashInferOffer(
        archives, tuned.problems, in_words(tuned.lacking), cache.stat().st_size if tuned.entries else 0
    )
    proofs = _prove(context, ranks, python, offer, staging)
    check_tactics(tuned, proofs)
    proof = assemble("Peer" if ranks.peers else "SamePod", _start(tuned, seconds), proofs)
    proof = proof if tuned.entries else replace(proof, reason=_nothing(tuned).reason)
    said = exchange.told(proof)
    exchange.upload(context, archives, staging, said)
    return job.RankResult(
        rank=0,
        succeeded=True,
        reason="Proved",
        message=said,
        archives=archives,
        environment=placed.environment if any(a.layer == flashinfer.TACTICS_LAYER for a in archives) else {},
        notes=(*notes, *([placed.note] if placed.note else [])),
        proof=proof,
        provenance=provenance,
    )


def _prove(context: Context, ranks: Ranks, python: str, offer: FlashInferOffer, staging: Path) -> list[RankProof]:
    if not ranks.peers:
        exchange.install_here(context, offer.archives, staging)
        return [_replay(context, python, offer, staging / flashinfer.FILE, 0)]
    exchange.broadcast(context, ranks, offer.archives, offer, staging)
    ranks.send([staging / flashinfer.FILE] if offer.size else [])
    return exchange.collect_proofs(context, ranks)


def _follow(context: Context, ranks: Ranks, python: str, staging: Path) -> job.RankResult:
    context.progress.enter("ColdStart", "waiting for rank 0's tactics")
    offer = ranks.collect("offer", 0, FlashInferOffer)
    exchange.receive(context, ranks, offer.archives, staging)
    ranks.receive([(staging / flashinfer.FILE, offer.size)] if offer.size else [])
    proof = _replay(context, python, offer, staging / flashinfer.FILE, ranks.rank)
    ranks.publish("proof", proof)
    return job.RankResult(ranks.rank, succeeded=True, reason="Proved", message=exchange.summary(proof))


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the tactics went: why not into FlashInferAutotune, and the variables that engines need to find them."""

    note: LayerNote | None = None
    environment: dict[str, str] = field(default_factory=dict)


def _place(context: Context, python: str, cache: Path, versions: Mapping[str, str]) -> Placed:
    """Puts the file where every rank of a replica looks for it, or has it loaded, or says why neither can be."""
    world_size = replica_ranks(context.line)
    if objection := flashinfer.objection(versions.get("flashinfer-python", ""), world_size):
        return Placed(LayerNote(flashinfer.LAYER, "Unsafe", objection))
    vllm = versions.get("vllm", "")
    if flashinfer.keeps(vllm, world_size) == "Nothing":
        return _preload(context, cache, flashinfer.no_file(vllm, world_size))
    if reason := flashinfer.no_file(vllm, world_size):
        return Placed(_no_place(reason))
    asked, _ = process.run(context, python, Request("Place", context.settings.command, str(cache)))
    place = Path(asked.place or "")
    if not asked.place or not place.is_relative_to(context.root):
        reason = asked.place_unknown or f"the engine looks for it in {place}, not below {context.root}"
        return Placed(_no_place(reason))
    place.mkdir(parents=True, exist_ok=True)
    for name in flashinfer.file_names(vllm, world_size):
        shutil.copyfile(cache, place / name)
    return Placed()


def _preload(context: Context, cache: Path, reason: str) -> Placed:
    if objection := plugin.objection(context.environ):
        return Placed(_no_place(f"{reason}; {objection}"))
    environment = plugin.place(context.root, cache)
    return Placed(_no_place(f"{reason}, unless the layer {flashinfer.TACTICS_LAYER} brings it"), environment)


def _own_version(report: Report) -> dict[str, str]:
    """FlashInfer's own word counts more than its package's."""
    found = report.metadata.get("flashinfer_version")
    return {"flashinfer-python": found} if found else {}


def _no_place(reason: str) -> LayerNote:
    return LayerNote(flashinfer.LAYER, "NotCacheable", reason)


def _replay(context: Context, python: str, offer: FlashInferOffer, cache: Path, rank: int) -> RankProof:
    """Loads the file and runs every operator again, without tuning."""
    context.progress.enter("WarmStart", f"replaying {len(offer.problems)} operators")
    before = snapshot.take(context.root)
    request = Request("Replay", context.settings.command, str(cache), offer.problems)
    report, seconds = process.run(context, python, request)
    context.console.say(_summary(report))
    rebuilt = snapshot.rebuilt_files(before, snapshot.take(context.root), context.settings.excluded_layers)
    layers = tuple(judge(archive, rebuilt.get(archive.layer, ()), report) for archive in offer.archives)
    nothing_asked = "no engine was started, so nothing was asked"
    return RankProof(
        rank, _start(report, seconds), layers, "Inconclusive", nothing_asked, tactics(report, offer.lacking)
    )


def judge(archive: Archive, rebuilt: Sequence[str], report: Report) -> LayerProof:
    """What a replay made of one layer: of the tactics by what was looked up, of all others by what was written."""
    if archive.layer not in (flashinfer.LAYER, flashinfer.TACTICS_LAYER):
        return snapshot.judge(archive.layer, archive.files, rebuilt, None)
    if report.mismatches:
        return LayerProof(archive.layer, "Miss", archive.files, 0, "; ".join(report.mismatches))
    if report.misses:
        reason = f"{report.misses} of {report.hits + report.misses} look-ups found no tactic"
        return LayerProof(archive.layer, "Partial" if report.hits else "Miss", archive.files, 0, reason)
    return LayerProof(archive.layer, "Hit", archive.files, 0)


def tactics(report: Report, lacking: tuple[str, ...] = ()) -> Tactics:
    """What status shows of a replay; ``lacking`` did on rank 0 already."""
    digest = flashinfer.digest(report.tactics)
    lacking = (*lacking, *in_words(report.lacking))
    return Tactics(report.entries, report.hits, report.misses, digest, lacking, report.mismatches)


def in_words(lacking: Sequence[Lacking]) -> tuple[str, ...]:
    """Operators that can't run, each with its reason."""
    return tuple(f"{lack.problem}: {lack.reason}" for lack in lacking)


def check_tactics(tuned: Report, proofs: Sequence[RankProof]) -> None:
    """The hard gate: a rank for which every look-up hit runs the kernels that rank 0 chose.

    Raises:
        AttemptError: TACTICS_DIFFER, with the first rank that doesn't.
    """
    expected = flashinfer.digest(tuned.tactics)
    for proof in proofs:
        if proof.tactics and not proof.tactics.misses and proof.tactics.digest != expected:
            only_there = [words for words in proof.tactics.lacking if words not in in_words(tuned.lacking)]
            why = "".join(f"; not there: {words}" for words in only_there[:1])
            raise AttemptError(
                job.TACTICS_DIFFER,
                f"rank {proof.rank} replayed tactics {proof.tactics.digest}, and rank 0 tuned {expected}{why}",
            )


def _nothing(tuned: Report) -> LayerNote:
    lacking = "".join(f"; not here: {words}" for words in in_words(tuned.lacking[:1]))
    reason = f"FlashInfer had nothing to tune for this model: engines run its default tactics{lacking}"
    return _no_place(reason)


def _start(report: Report, seconds: float) -> Start:
    return Start(round(seconds, 3), phases=report.seconds)


def _summary(report: Report) -> str:
    spent = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in report.seconds.items())
    return (
        f"{len(report.problems)} operators, {len(report.lacking)} not here, {report.entries} entries,"
        f" {report.hits} hits, {report.misses} misses: {spent}"
    )
