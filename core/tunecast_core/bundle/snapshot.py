"""What a start wrote: two looks at a mount path, and the verdict on each layer."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunecast_core.bundle.capture import walk
from tunecast_core.bundle.layers import is_restored, is_rewritten, layer_of
from tunecast_core.bundle.pack import digest_of
from tunecast_core.records.manifest import LayerProof, Verdict

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """One file, as far as it tells whether it was written."""

    size: int
    mtime_ns: int
    inode: int
    digest: str | None = None  # of files that engines rewrite at every start: theirs alone counts


Snapshot = Mapping[str, Seen]  # by path relative to the mount path, POSIX; files that layers take


def take(root: Path) -> Snapshot:
    """Looks at every file below ``root`` that a layer takes."""
    return {path: _look(root, path) for path in walk(root) if layer_of(path)}


def _look(root: Path, path: str) -> Seen:
    layer = layer_of(path)
    if layer and is_restored(path, layer):
        return Seen(0, 0, 0)
    if layer and is_rewritten(path, layer):
        digest, size = digest_of(root / path)
        return Seen(size, 0, 0, digest)
    status = os.lstat(root / path)
    return Seen(status.st_size, status.st_mtime_ns, status.st_ino)


def rebuilt_files(before: Snapshot, after: Snapshot, excluded: Iterable[str]) -> dict[str, list[str]]:
    """Sorted paths that are new or written in ``after``, by layer; layers that wrote nothing are left out."""
    found: dict[str, list[str]] = defaultdict(list)
    left_out = frozenset(excluded)
    for path in sorted(after):
        if after[path] != before.get(path) and (layer := layer_of(path, left_out)):
            found[layer.name].append(path)
    return dict(found)


def judge(layer: str, brought: int, rebuilt: Sequence[str], engine_words: str | None) -> LayerProof:
    """What a warm start made of one layer.

    Args:
        layer: its name.
        brought: how many files the bundle has in it.
        rebuilt: files of it that the start wrote all the same. As many as were brought are a miss, even where they
            are others: that is how a key looks that doesn't match.
        engine_words: a line of the engine's log that tells of a miss.
    """
    reason = engine_words or _reason(brought, rebuilt)
    return LayerProof(
        layer,
        _verdict(brought, rebuilt, engine_words),
        brought,
        len(rebuilt),
        reason,
        tuple(rebuilt[:EXAMPLES]),
    )


def _verdict(brought: int, rebuilt: Sequence[str], engine_words: str | None) -> Verdict:
    if len(rebuilt) >= max(brought, 1):
        return "Miss"
    return "Partial" if rebuilt or engine_words else "Hit"


def _reason(brought: int, rebuilt: Sequence[str]) -> str:
    if not rebuilt:
        return ""
    more = f" and {len(rebuilt) - 1} more" if len(rebuilt) > 1 else ""
    return f"the warm start rebuilt {rebuilt[0]}{more}, and the bundle has {brought} files of this layer"
