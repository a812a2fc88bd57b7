"""Sends a bundle from rank 0 to its peers and to S3. All workloads share this module."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tunecast_core.bundle import pack as bundle
from tunecast_core.bundle.savings import least
from tunecast_core.errors import BundleError
from tunecast_core.records import job
from tunecast_core.records.manifest import Archive, LayerNote, Proof, RankProof
from tunecast_tuner.peers.ranks import Ranks
from tunecast_tuner.proof.verdict import check_installed
from tunecast_tuner.rank.context import Context
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.rank.upload import upload_file

Archives = tuple[Archive, ...]


@dataclass(frozen=True, slots=True)
class Installed:
    """A peer's acknowledgement of the archives that it installed."""

    digests: dict[str, str] = field(default_factory=dict)  # by layer


@contextmanager
def staging(context: Context) -> Iterator[Path]:
    """Yields a temporary directory for archives, which is always removed afterwards."""
    with tempfile.TemporaryDirectory(
        prefix="tunecast-", dir=context.temporary, ignore_cleanup_errors=True
    ) as directory:
        yield Path(directory)


def capture(context: Context, excluded: Sequence[str], directory: Path) -> tuple[Archives, tuple[LayerNote, ...]]:
    """Packs the files below the mount path. Returns an archive for each layer, and a note on each layer."""
    context.progress.enter("Capture", f"reading {context.root}")
    return context.attempt.run(lambda: _capture(context, excluded, directory))


def _capture(context: Context, excluded: Sequence[str], directory: Path) -> tuple[Archives, tuple[LayerNote, ...]]:
    captured = bundle.capture(context.root, excluded, context.unstageable)
    archives = tuple(
        bundle.pack(context.root, paths, directory / layer) for layer, paths in sorted(captured.layers.items())
    )
    context.console.log(
        ", ".join(
            f"{a.layer}: {a.files} files, {a.unpacked / 1e6:.1f} MB, packed {a.size / 1e6:.1f} MB" for a in archives
        )
        or "the engine left no files that a layer takes"
    )
    return archives, captured.notes


def broadcast(context: Context, ranks: Ranks, archives: Archives, offer: object, directory: Path) -> None:
    """Publishes the offer and broadcasts the archives from rank 0, and verifies that every peer installed them."""
    size = sum(archive.size for archive in archives)
    context.progress.enter("Broadcast", f"{size / 1e6:.1f} MB to {len(ranks.peers)} ranks", size)
    ranks.publish("offer", offer)
    ranks.send([directory / archive.layer for archive in archives])
    for rank in ranks.peers:
        check_installed(archives, rank, ranks.collect("installed", rank, Installed).digests)
    context.progress.enter("WarmStart", "every rank installed the same digests and starts the engine")


def receive(context: Context, ranks: Ranks, archives: Archives, directory: Path) -> None:
    """Receives and installs the archives on a peer, and acknowledges them."""
    size = sum(archive.size for archive in archives)
    context.progress.enter("Broadcast", f"receiving {len(archives)} archives", size)
    ranks.receive([(directory / archive.layer, archive.size) for archive in archives])
    ranks.publish("installed", install(context, archives, directory))


def collect_proofs(context: Context, ranks: Ranks) -> list[RankProof]:
    """Waits for the proofs of all peers, and returns them in the order of ranks."""
    proofs = []
    for rank in ranks.peers:
        proofs.append(ranks.collect("proof", rank, RankProof))
        context.console.log(summary(proofs[-1]))
    return proofs


def install_here(context: Context, archives: Archives, directory: Path) -> None:
    """Empties the mount path of a rank without peers, and installs the archives there."""
    for path in context.root.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    check_installed(archives, 0, install(context, archives, directory).digests)


def install(context: Context, archives: Archives, directory: Path) -> Installed:
    """Verifies and installs the archives. Returns the digests of the bytes that this rank holds."""
    files = [(directory / archive.layer, archive) for archive in archives]
    try:
        context.attempt.run(lambda: bundle.install(files, context.root))
    except BundleError as error:
        raise AttemptError(job.INSTALL_FAILED, str(error)) from error
    return Installed({archive.layer: bundle.digest_of(path)[0] for path, archive in files})


def upload(context: Context, archives: Archives, directory: Path, message: str) -> None:
    """Stages the archives for the operator, and logs ``message``."""
    context.progress.enter("Upload", message, sum(archive.size for archive in archives))
    for archive in archives:
        name = job.archive_object(archive.layer)
        context.attempt.run(lambda name=name, path=directory / archive.layer: upload_file(context.current, name, path))  # type: ignore[misc]


def summary(proof: RankProof) -> str:
    """Returns one rank's proof in one line."""
    layers = ", ".join(f"{layer.layer} {layer.verdict}" for layer in proof.layers)
    return f"rank {proof.rank}: warm in {proof.warm.total_seconds:.1f} s, outputs {proof.outputs}: {layers}"


def describe(proof: Proof) -> str:
    """Returns the whole proof in one line."""
    times = f"cold {proof.cold.total_seconds:.1f} s, warm {proof.warm.total_seconds:.1f} s{_saved(proof)}"
    return "; ".join(filter(None, (f"{proof.verdict}, outputs {proof.outputs}", times, proof.reason)))


def _saved(proof: Proof) -> str:
    found = least(proof)
    if found is None or found.seconds is None:
        return ""
    parts = [f"{phase.phase} {phase.saved:.1f} s" for phase in found.phases if abs(phase.saved) >= 0.05]  # noqa: PLR2004
    where = f" ({', '.join(parts)})" if parts else " of engine init" if found.basis == "EngineInit" else ""
    return f", saved {found.seconds:.1f} s{where}"
