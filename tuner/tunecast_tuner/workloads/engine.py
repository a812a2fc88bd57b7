"""The engine workload: cold start, capture, broadcast, and a warm start on every peer that proves what it is worth."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tunecast_cache import bundle, job, snapshot
from tunecast_cache.errors import BundleError
from tunecast_cache.layers import BY_NAME
from tunecast_cache.manifest import Archive, LayerNote, LayerProof, RankProof, Start
from tunecast_tuner import bytecode, interpreter, keyfactors, outputs, phases
from tunecast_tuner.context import Context
from tunecast_tuner.failures import AttemptError
from tunecast_tuner.proof import assemble, check_installed
from tunecast_tuner.ranks import Ranks
from tunecast_tuner.upload import upload_file
from tunecast_tuner.workloads.measure import Measured, measure


@dataclass(frozen=True, slots=True)
class Offer:
    """What rank 0 tells its peers before the broadcast."""

    archives: tuple[Archive, ...]
    environment: dict[str, str]  # for engines that load the bundle
    excluded: tuple[str, ...]
    batches: int  # of the sweep
    answers: tuple[tuple[str, ...], ...]  # two rounds of the cold engine's
    variables: dict[str, str]  # digests of the cold engine's environment


@dataclass(frozen=True, slots=True)
class Installed:
    """A peer's acknowledgement: what it unpacked, by layer."""

    digests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Bytecode:
    """What was decided about the bytecode layer: the variable to set, or why not."""

    environment: Mapping[str, str]
    objection: str = ""

    @property
    def excluded(self) -> tuple[str, ...]:
        return (bytecode.LAYER,) if self.objection else ()

    @property
    def notes(self) -> tuple[LayerNote, ...]:
        return (LayerNote(bytecode.LAYER, "NotCacheable", self.objection),) if self.objection else ()


def run(context: Context, ranks: Ranks) -> job.RankResult:
    """This rank's part of the attempt.

    Raises:
        AttemptError: it can't succeed any more.
    """
    with _staging(context) as staging:
        return _lead(context, ranks, staging) if ranks.rank == 0 else _follow(context, ranks, staging)


@contextmanager
def _staging(context: Context) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix="tunecast-", dir=context.temporary, ignore_cleanup_errors=True
    ) as directory:
        yield Path(directory)


def _lead(context: Context, ranks: Ranks, staging: Path) -> job.RankResult:
    python = context.attempt.run(lambda: _interpreter(context))
    hoped = _hope_for_bytecode(context, python)
    cold = measure(context, {**context.environment, **hoped.environment}, ("ColdStart", "ColdSweep"), rounds=2)
    decided = _decide_on_bytecode(context, hoped)

    context.progress.enter("Capture", f"reading {context.root}")
    excluded = (*context.settings.excluded_layers, *decided.excluded)
    archives, notes = context.attempt.run(lambda: _capture(context, excluded, staging))
    variables = keyfactors.fingerprints(context.environ)
    offer = Offer(archives, dict(decided.environment), excluded, cold.batches, cold.answers, variables)

    proofs = _prove_on_peers(context, ranks, offer, staging) if ranks.peers else [_prove_here(context, offer, staging)]
    proof = assemble("Peer" if ranks.peers else "SamePod", cold.start, proofs)
    size = sum(archive.size for archive in archives)
    said = "; ".join(
        filter(None, (f"{proof.verdict}, outputs {proof.outputs}", _speed(cold.start, proof.warm), proof.reason))
    )
    context.progress.enter("Upload", said, size)
    for archive in archives:
        name = job.archive_object(archive.layer)
        context.attempt.run(lambda name=name, path=staging / archive.layer: upload_file(context.urls, name, path))  # type: ignore[misc]
    return job.RankResult(
        rank=0,
        succeeded=True,
        reason="Proved",
        message=said,
        archives=archives,
        environment=dict(decided.environment),
        notes=(*notes, *decided.notes),
        proof=proof,
        provenance=context.attempt.run(lambda: interpreter.provenance(python)),
    )


def _follow(context: Context, ranks: Ranks, staging: Path) -> job.RankResult:
    context.progress.enter("ColdStart", "waiting for rank 0's bundle")
    offer = ranks.collect("offer", 0, Offer)
    context.progress.enter(
        "Broadcast", f"receiving {len(offer.archives)} archives", sum(a.size for a in offer.archives)
    )
    ranks.receive([(staging / archive.layer, archive.size) for archive in offer.archives])
    ranks.publish("installed", _install(context, offer, staging))
    proof = _prove(context, offer, ranks.rank)
    ranks.publish("proof", proof)
    return job.RankResult(ranks.rank, succeeded=True, reason="Proved", message=_summary(proof))


def _capture(
    context: Context, excluded: Sequence[str], staging: Path
) -> tuple[tuple[Archive, ...], tuple[LayerNote, ...]]:
    captured = bundle.capture(context.root, excluded, context.secrets)
    archives = tuple(
        bundle.pack(context.root, paths, staging / layer) for layer, paths in sorted(captured.layers.items())
    )
    context.console.say(
        ", ".join(
            f"{a.layer}: {a.files} files, {a.unpacked / 1e6:.1f} MB, packed {a.size / 1e6:.1f} MB" for a in archives
        )
        or "the engine left no files that a layer takes"
    )
    return archives, captured.notes


def _prove_on_peers(context: Context, ranks: Ranks, offer: Offer, staging: Path) -> list[RankProof]:
    size = sum(archive.size for archive in offer.archives)
    context.progress.enter("Broadcast", f"{size / 1e6:.1f} MB to {len(ranks.peers)} ranks", size)
    ranks.publish("offer", offer)
    ranks.send([staging / archive.layer for archive in offer.archives])
    for rank in ranks.peers:
        check_installed(offer.archives, rank, ranks.collect("installed", rank, Installed).digests)
    context.progress.enter("WarmStart", "every rank installed the same digests; they start their engines")
    proofs = []
    for rank in ranks.peers:
        proofs.append(ranks.collect("proof", rank, RankProof))
        context.console.say(_summary(proofs[-1]))
    return proofs


def _prove_here(context: Context, offer: Offer, staging: Path) -> RankProof:
    for path in context.root.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    check_installed(offer.archives, 0, _install(context, offer, staging).digests)
    return _prove(context, offer, 0)


def _install(context: Context, offer: Offer, staging: Path) -> Installed:
    """Verifies and unpacks; the digests are those of the bytes that this rank holds."""
    archives = [(staging / archive.layer, archive) for archive in offer.archives]
    try:
        context.attempt.run(lambda: bundle.install(archives, context.root))
    except BundleError as error:
        raise AttemptError(job.INSTALL_FAILED, str(error)) from error
    return Installed({archive.layer: bundle.digest_of(path)[0] for path, archive in archives})


def _prove(context: Context, offer: Offer, rank: int) -> RankProof:
    """The warm start: what it took, what it made again, what it answered."""
    before = snapshot.take(context.root)
    environment = {**context.environment, **offer.environment}
    warm = measure(context, environment, ("WarmStart", "WarmSweep"), rounds=1, batches=offer.batches)
    again = snapshot.made_again(before, snapshot.take(context.root), offer.excluded)
    strange = keyfactors.differing(offer.variables, keyfactors.fingerprints(context.environ))
    judged = tuple(
        keyfactors.explained(_judge(archive, again.get(archive.layer, ()), warm), strange) for archive in offer.archives
    )
    cold, cold_again = offer.answers
    return RankProof(rank, warm.start, judged, outputs.compare(cold, cold_again, warm.answers[0]))


def _judge(archive: Archive, again: Sequence[str], warm: Measured) -> LayerProof:
    words = phases.engine_words(warm.lines, BY_NAME[archive.layer].engine_says)
    return snapshot.judge(archive.layer, archive.files, again, words)


def _interpreter(context: Context) -> interpreter.Interpreter | None:
    return interpreter.ask(interpreter.locate(context.settings.command, context.environ), context.environment)


def _hope_for_bytecode(context: Context, python: interpreter.Interpreter | None) -> _Bytecode:
    """Before the cold start: an estimate from what could be imported."""
    objection = bytecode.refusal(context.environ, context.settings.excluded_layers)
    if not objection and python is None:
        objection = "the engine's interpreter could not be asked what bytecode the image holds"
    if objection or python is None:
        return _Bytecode({}, objection or "")
    count = context.attempt.run(lambda: bytecode.scan(python))
    context.console.say(f"the image holds bytecode of {count.compiled} of {count.sources} modules")
    return (
        _Bytecode(bytecode.prefix(context.settings.mount_path)) if count.mostly_missing else _Bytecode({}, _held(count))
    )


def _decide_on_bytecode(context: Context, hoped: _Bytecode) -> _Bytecode:
    """After it: exactly, from what was imported."""
    if hoped.objection:
        return hoped
    count = bytecode.imported(context.settings.mount_path)
    return hoped if count.mostly_missing else _Bytecode({}, _held(count))


def _held(count: bytecode.Count) -> str:
    return f"the image holds bytecode of its own, of {count.compiled} of {count.sources} modules"


def _summary(proof: RankProof) -> str:
    layers = ", ".join(f"{layer.layer} {layer.verdict}" for layer in proof.layers)
    return f"rank {proof.rank}: warm in {proof.warm.total_seconds:.1f} s, outputs {proof.outputs}: {layers}"


def _speed(cold: Start, warm: Start) -> str:
    text = f"cold {cold.total_seconds:.1f} s, warm {warm.total_seconds:.1f} s"
    if cold.init_seconds is None or warm.init_seconds is None:
        return text
    return f"{text}, engine init {cold.init_seconds:.1f} and {warm.init_seconds:.1f} s"
