"""Compares two snapshots of a mount path to find the files that a start wrote, and computes each layer's verdict."""

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
    """State of one file that changes when the file is written."""

    size: int
    mtime_ns: int
    inode: int
    digest: str | None = None  # only for files that every start rewrites, which are compared by content


Snapshot = Mapping[str, Seen]  # files of layers, by POSIX path relative to the mount path


def take(root: Path) -> Snapshot:
    """Takes a snapshot of every file below ``root`` that a layer takes."""
    return {path: _state(root, path) for path in walk(root) if layer_of(path)}


def _state(root: Path, path: str) -> Seen:
    layer = layer_of(path)
    if layer and is_restored(path, layer):
        return Seen(0, 0, 0)
    if layer and is_rewritten(path, layer):
        digest, size = digest_of(root / path)
        return Seen(size, 0, 0, digest)
    status = os.lstat(root / path)
    return Seen(status.st_size, status.st_mtime_ns, status.st_ino)


def rebuilt_files(before: Snapshot, after: Snapshot, excluded: Iterable[str]) -> dict[str, list[str]]:
    """Returns the sorted paths that were created or written between the snapshots, by layer.

    Layers without such a path are left out.
    """
    found: dict[str, list[str]] = defaultdict(list)
    left_out = frozenset(excluded)
    for path in sorted(after):
        if after[path] != before.get(path) and (layer := layer_of(path, left_out)):
            found[layer.name].append(path)
    return dict(found)


def judge(layer: str, brought: int, rebuilt: Sequence[str], miss_line: str | None) -> LayerProof:
    """Returns the proof of one layer for a warm start.

    Args:
        layer: name of the layer.
        brought: number of the layer's files in the bundle.
        rebuilt: paths of the layer that the start wrote. At least as many as the bundle brought are a miss, even
            if they are different paths, because a key that doesn't match leads to new paths.
        miss_line: line of the engine's log that reports a miss; None or empty without one.
    """
    reason = miss_line or _reason(brought, rebuilt)
    return LayerProof(
        layer,
        _verdict(brought, rebuilt, miss_line),
        brought,
        len(rebuilt),
        reason,
        tuple(rebuilt[:EXAMPLES]),
    )


def _verdict(brought: int, rebuilt: Sequence[str], miss_line: str | None) -> Verdict:
    if len(rebuilt) >= max(brought, 1):
        return "Miss"
    return "Partial" if rebuilt or miss_line else "Hit"


def _reason(brought: int, rebuilt: Sequence[str]) -> str:
    if not rebuilt:
        return ""
    more = f" and {len(rebuilt) - 1} more" if len(rebuilt) > 1 else ""
    return f"the warm start rebuilt {rebuilt[0]}{more}, and the bundle has {brought} files of this layer"
