"""The engine workload: a cold start, capture, broadcast, and a warm start on every peer that proves the bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunecast_core.bundle import flashinfer, snapshot
from tunecast_core.bundle.layers import BY_NAME
from tunecast_core.records import job
from tunecast_core.records.manifest import Archive, LayerNote, LayerProof, RankProof
from tunecast_tuner.engine import bytecode, hub, interpreter
from tunecast_tuner.flashinfer_ops.model import replica_ranks
from tunecast_tuner.peers.ranks import Ranks
from tunecast_tuner.proof import diagnosis, keyfactors, outputs, phases
from tunecast_tuner.proof.outputs import Answer
from tunecast_tuner.proof.verdict import assemble
from tunecast_tuner.rank.context import Context
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.rank.hardware import of_rank
from tunecast_tuner.workloads import exchange
from tunecast_tuner.workloads.measure import Measured, measure

NOTHING_TUNED = (r"No FlashInfer autotune cache entries found",)


@dataclass(frozen=True, slots=True)
class Offer:
    """The record that rank 0 publishes for its peers before the broadcast."""

    archives: tuple[Archive, ...]
    environment: dict[str, str]  # variables for engines that load the bundle
    excluded: tuple[str, ...]  # layers that are left out
    batches: int  # number of batches of the sweep
    answers: tuple[tuple[Answer, ...], ...]  # two rounds of answers of the cold engine
    variables: dict[str, str]  # digests of the cold engine's environment


@dataclass(frozen=True, slots=True)
class _Bytecode:
    """The decision on the bytecode layer: the variable to set, or the reason why there is no layer."""

    environment: Mapping[str, str]
    objection: str = ""

    @property
    def excluded(self) -> tuple[str, ...]:
        return (bytecode.LAYER,) if self.objection else ()

    @property
    def notes(self) -> tuple[LayerNote, ...]:
        return (LayerNote(bytecode.LAYER, "NotCacheable", self.objection),) if self.objection else ()


def run(context: Context, ranks: Ranks) -> job.RankResult:
    """Runs this rank's part of the attempt.

    Raises:
        AttemptError: the attempt failed.
    """
    with exchange.staging(context) as staging:
        return _lead(context, ranks, staging) if ranks.rank == 0 else _follow(context, ranks, staging)


def _lead(context: Context, ranks: Ranks, staging: Path) -> job.RankResult:
    python = context.attempt.run(lambda: _interpreter(context))
    estimated = _estimate_bytecode(context, python)
    cold = measure(context, {**context.environment, **estimated.environment}, ("ColdStart", "ColdSweep"), rounds=2)
    decided = _decide_on_bytecode(context, estimated)

    excluded = (*context.settings.excluded_layers, *decided.excluded)
    archives, notes = exchange.capture(context, excluded, staging)
    variables = keyfactors.fingerprints(context.environ)
    offer = Offer(archives, dict(decided.environment), excluded, cold.batches, cold.answers, variables)

    proofs = _prove_on_peers(context, ranks, offer, staging) if ranks.peers else [_prove_here(context, offer, staging)]
    proof = replace(assemble("Peer" if ranks.peers else "SamePod", cold.start, proofs), sweep=cold.sweep)
    message = exchange.describe(proof)
    exchange.upload(context, archives, staging, message)
    commit = hub.commit(context.line, context.environ)
    provenance = interpreter.provenance(python, commit, of_rank(context))
    return job.RankResult(
        rank=0,
        succeeded=True,
        reason="Proved",
        message=message,
        archives=archives,
        environment=dict(decided.environment),
        notes=(*notes, *decided.notes, *_about_tuning(context, archives, provenance.versions, cold)),
        proof=proof,
        provenance=provenance,
    )


def _follow(context: Context, ranks: Ranks, staging: Path) -> job.RankResult:
    context.progress.enter("ColdStart", "waiting for rank 0's bundle")
    offer = ranks.collect("offer", 0, Offer)
    exchange.receive(context, ranks, offer.archives, staging)
    proof = prove(context, offer, ranks.rank)
    ranks.publish("proof", proof)
    return job.RankResult(ranks.rank, succeeded=True, reason="Proved", message=exchange.summary(proof))


def _prove_on_peers(context: Context, ranks: Ranks, offer: Offer, staging: Path) -> list[RankProof]:
    exchange.broadcast(context, ranks, offer.archives, offer, staging)
    return exchange.collect_proofs(context, ranks)


def _prove_here(context: Context, offer: Offer, staging: Path) -> RankProof:
    exchange.install_here(context, offer.archives, staging)
    return prove(context, offer, 0)


def _about_tuning(
    context: Context, archives: Sequence[Archive], versions: Mapping[str, str], cold: Measured
) -> tuple[LayerNote, ...]:
    """Returns a note on why the bundle has no autotune layer, if it has none."""
    if any(archive.layer == flashinfer.LAYER for archive in archives):
        return ()
    tuned_nothing = bool(phases.first_match(cold.lines, NOTHING_TUNED))
    note = flashinfer.absence(versions, replica_ranks(context.line), tuned_nothing=tuned_nothing)
    return (note,) if note else ()


def prove(context: Context, offer: Offer, rank: int) -> RankProof:
    """Measures a warm start: its seconds, the files that it rebuilt, and its answers.

    Raises:
        AttemptError: WARM_START_FAILED, the engine crashed with the bundle's files; or the attempt ended.
    """
    before = snapshot.take(context.root)
    environment = {**context.environment, **offer.environment}
    try:
        warm = measure(context, environment, ("WarmStart", "WarmSweep"), rounds=1, batches=offer.batches)
    except AttemptError as failure:
        raise diagnosis.refusal(failure, before, context.settings.mount_path) from failure
    rebuilt = snapshot.rebuilt_files(before, snapshot.take(context.root), offer.excluded)
    differing = keyfactors.differing(offer.variables, keyfactors.fingerprints(context.environ))
    judged = tuple(
        keyfactors.explained(_judge(archive, rebuilt.get(archive.layer, ()), warm), differing)
        for archive in offer.archives
    )
    rounds = (*offer.answers, warm.answers[0])
    return RankProof(rank, warm.start, judged, outputs.compare(*rounds), outputs.unanswered(*rounds))


def _judge(archive: Archive, rebuilt: Sequence[str], warm: Measured) -> LayerProof:
    miss_line = phases.first_match(warm.lines, BY_NAME[archive.layer].miss_patterns)
    return snapshot.judge(archive.layer, archive.files, rebuilt, miss_line)


def _interpreter(context: Context) -> interpreter.Interpreter | None:
    return interpreter.ask(interpreter.locate(context.line.program, context.environ), context.environment)


def _estimate_bytecode(context: Context, python: interpreter.Interpreter | None) -> _Bytecode:
    """Decides before the cold start, by an estimate from the modules that could be imported."""
    objection = bytecode.refusal(context.environ, context.settings.excluded_layers)
    if not objection and python is None:
        objection = "the engine's interpreter did not report its paths, so the image's bytecode was not counted"
    if objection or python is None:
        return _Bytecode({}, objection or "")
    count = context.attempt.run(lambda: bytecode.scan(python))
    context.console.log(f"the image holds bytecode of {count.compiled} of {count.sources} modules")
    return (
        _Bytecode(bytecode.prefix(context.settings.mount_path)) if count.much_missing else _Bytecode({}, _held(count))
    )


def _decide_on_bytecode(context: Context, estimated: _Bytecode) -> _Bytecode:
    """Decides after the cold start, from the modules that were imported."""
    if estimated.objection:
        return estimated
    count = bytecode.imported(context.settings.mount_path)
    return estimated if count.much_missing else _Bytecode({}, _held(count))


def _held(count: bytecode.Count) -> str:
    return f"the image holds bytecode of its own, of {count.compiled} of {count.sources} modules"
