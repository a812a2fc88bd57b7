"""The Operators workload: rank 0 tunes FlashInfer's operators at the model's shapes, and its peers replay them."""

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
    """The record that rank 0 publishes for its peers before the broadcast."""

    archives: tuple[Archive, ...]
    problems: tuple[Problem, ...]  # problems that peers replay
    lacking: tuple[str, ...]  # operators that can't run on rank 0, each with the reason; peers skip them
    size: int  # size of the autotune file in bytes; 0 if nothing was tuned


def run(context: Context, ranks: Ranks) -> job.RankResult:
    """Runs this rank's part of the attempt.

    Raises:
        AttemptError: the attempt failed.
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
    context.console.log(_summary(tuned))
    commit = hub.commit(context.line, context.environ)
    properties = context.attempt.run(lambda: interpreter.ask(python, context.environment))
    provenance = interpreter.provenance(properties, commit, of_rank(context))
    versions = {**provenance.versions, **_own_version(tuned)}
    added = _add_tactics(context, python, cache, versions) if tuned.entries else Added(_nothing(tuned))
    archives, notes = exchange.capture(context, context.settings.excluded_layers, staging)
    offer = FlashInferOffer(
        archives, tuned.problems, described(tuned.lacking), cache.stat().st_size if tuned.entries else 0
    )
    proofs = _prove(context, ranks, python, offer, staging)
    check_tactics(tuned, proofs)
    proof = assemble("Peer" if ranks.peers else "SamePod", _start(tuned, seconds), proofs)
    proof = proof if tuned.entries else replace(proof, reason=_nothing(tuned).reason)
    message = exchange.describe(proof)
    exchange.upload(context, archives, staging, message)
    return job.RankResult(
        rank=0,
        succeeded=True,
        reason="Proved",
        message=message,
        archives=archives,
        environment=added.environment if any(a.layer == flashinfer.TACTICS_LAYER for a in archives) else {},
        notes=(*notes, *([added.note] if added.note else [])),
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
class Added:
    """Result of adding tactics to the bundle: why FlashInferAutotune lacks them, and the variables that find them."""

    note: LayerNote | None = None
    environment: dict[str, str] = field(default_factory=dict)


def _add_tactics(context: Context, python: str, cache: Path, versions: Mapping[str, str]) -> Added:
    """Copies the file to where all ranks of a replica look for it, or adds a plugin that loads it, if possible."""
    world_size = replica_ranks(context.line)
    if objection := flashinfer.objection(versions.get("flashinfer-python", ""), world_size):
        return Added(LayerNote(flashinfer.LAYER, "Unsafe", objection))
    vllm = versions.get("vllm", "")
    if flashinfer.keeps(vllm, world_size) == "Nothing":
        return _preload(context, cache, flashinfer.no_file(vllm, world_size))
    if reason := flashinfer.no_file(vllm, world_size):
        return Added(_not_cacheable(reason))
    report, _ = process.run(context, python, Request("Locate", context.settings.command, str(cache)))
    directory = Path(report.directory or "")
    if not report.directory or not directory.is_relative_to(context.root):
        problem = f"the engine looks for the autotune file in {directory}, not below {context.root}"
        return Added(_not_cacheable(report.directory_problem or problem))
    directory.mkdir(parents=True, exist_ok=True)
    for name in flashinfer.file_names(vllm, world_size):
        shutil.copyfile(cache, directory / name)
    return Added()


def _preload(context: Context, cache: Path, reason: str) -> Added:
    if objection := plugin.objection(context.environ):
        return Added(_not_cacheable(f"{reason}; {objection}"))
    environment = plugin.install(context.root, cache)
    return Added(_not_cacheable(f"{reason}, unless the layer {flashinfer.TACTICS_LAYER} brings it"), environment)


def _own_version(report: Report) -> dict[str, str]:
    """Returns the version that FlashInfer reports, which precedes that of its package."""
    found = report.metadata.get("flashinfer_version")
    return {"flashinfer-python": found} if found else {}


def _not_cacheable(reason: str) -> LayerNote:
    return LayerNote(flashinfer.LAYER, "NotCacheable", reason)


def _replay(context: Context, python: str, offer: FlashInferOffer, cache: Path, rank: int) -> RankProof:
    """Loads the autotune file and runs every operator without tuning."""
    context.progress.enter("WarmStart", f"replaying {len(offer.problems)} operators")
    before = snapshot.take(context.root)
    request = Request("Replay", context.settings.command, str(cache), offer.problems)
    report, seconds = process.run(context, python, request)
    context.console.log(_summary(report))
    rebuilt = snapshot.rebuilt_files(before, snapshot.take(context.root), context.settings.excluded_layers)
    layers = tuple(judge(archive, rebuilt.get(archive.layer, ()), report) for archive in offer.archives)
    no_outputs = "no engine was started, so no request was sent"
    return RankProof(rank, _start(report, seconds), layers, "Inconclusive", no_outputs, tactics(report, offer.lacking))


def judge(archive: Archive, rebuilt: Sequence[str], report: Report) -> LayerProof:
    """Returns the proof of one layer: for layers of tactics from the look-ups, for others from the written files."""
    if archive.layer not in (flashinfer.LAYER, flashinfer.TACTICS_LAYER):
        return snapshot.judge(archive.layer, archive.files, rebuilt, None)
    if report.mismatches:
        return LayerProof(archive.layer, "Miss", archive.files, 0, "; ".join(report.mismatches))
    if report.misses:
        reason = f"{report.misses} of {report.hits + report.misses} look-ups found no tactic"
        return LayerProof(archive.layer, "Partial" if report.hits else "Miss", archive.files, 0, reason)
    return LayerProof(archive.layer, "Hit", archive.files, 0)


def tactics(report: Report, lacking: tuple[str, ...] = ()) -> Tactics:
    """Returns the tactics of a replay for the proof. ``lacking`` are the operators that rank 0 lacks, too."""
    digest = flashinfer.digest(report.tactics)
    lacking = (*lacking, *described(report.lacking))
    return Tactics(report.entries, report.hits, report.misses, digest, lacking, report.mismatches)


def described(lacking: Sequence[Lacking]) -> tuple[str, ...]:
    """Describes operators that can't run, each with its reason."""
    return tuple(f"{lack.problem}: {lack.reason}" for lack in lacking)


def check_tactics(tuned: Report, proofs: Sequence[RankProof]) -> None:
    """Verifies that each rank without a missed look-up ran the tactics that rank 0 chose.

    Raises:
        AttemptError: TACTICS_DIFFER, with the first rank whose tactics differ.
    """
    expected = flashinfer.digest(tuned.tactics)
    for proof in proofs:
        if proof.tactics and not proof.tactics.misses and proof.tactics.digest != expected:
            only_there = [operator for operator in proof.tactics.lacking if operator not in described(tuned.lacking)]
            why = "".join(f"; can't run there: {operator}" for operator in only_there[:1])
            raise AttemptError(
                job.TACTICS_DIFFER,
                f"rank {proof.rank} replayed tactics {proof.tactics.digest}, and rank 0 tuned {expected}{why}",
            )


def _nothing(tuned: Report) -> LayerNote:
    lacking = "".join(f"; can't run here: {operator}" for operator in described(tuned.lacking[:1]))
    reason = f"FlashInfer had nothing to tune for this model: engines run its default tactics{lacking}"
    return _not_cacheable(reason)


def _start(report: Report, seconds: float) -> Start:
    return Start(round(seconds, 3), phases=report.seconds)


def _summary(report: Report) -> str:
    spent = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in report.seconds.items())
    return (
        f"{len(report.problems)} operators, {len(report.lacking)} that can't run here, {report.entries} entries,"
        f" {report.hits} hits, {report.misses} misses: {spent}"
    )
