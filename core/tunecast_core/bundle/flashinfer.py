"""FlashInfer's autotune files: their content, where they are valid, and which of them engines keep. Pure.

Source: the wheels of FlashInfer 0.6.8 to 0.7.2 and of vLLM 0.26 and 0.32. Versions that were not examined are None.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunecast_core.errors import MalformedError
from tunecast_core.records.codec import canonical, decode
from tunecast_core.records.manifest import LayerNote

LAYER = "FlashInferAutotune"
TACTICS_LAYER = "FlashInferTactics"  # for engines that look for no autotune file: a plugin loads the tactics
METADATA = "_metadata"
PARTS = (2, 3)  # lengths of an entry: runner, tactic, and from 0.7.1 on a measurement
ANY = "*"  # a saved value that is valid everywhere
SIZE_LIMIT = 64 * 2**20  # bytes of one file

Version = tuple[int, int, int]
Keys = Literal["Shapes", "ShapesAndRanks"]  # what the key of an entry for a fused MoE operator holds
Keeps = Literal["File", "FilePerRank", "Store", "Nothing"]  # what an engine keeps of its own tuning

# By the first version of FlashInfer: keys also hold rank indices from 0.6.18 to 0.7.1.
KEYS: tuple[tuple[Version, Keys], ...] = (
    ((0, 0, 0), "Shapes"),
    ((0, 6, 18), "ShapesAndRanks"),
    ((0, 7, 2), "Shapes"),
)
# By the first version of vLLM: with one rank in a replica, and with several. Store is FlashInfer's own file per entry.
KEEPS: tuple[tuple[Version, Keeps | None, Keeps | None], ...] = (
    ((0, 22, 0), "Nothing", "Nothing"),
    ((0, 23, 0), None, None),
    ((0, 26, 0), "File", "Nothing"),
    ((0, 27, 0), None, None),
    ((0, 32, 0), "FilePerRank", "FilePerRank"),
    ((0, 33, 0), "Store", "FilePerRank"),
)
FILE = "autotune_configs.json"


@dataclass(frozen=True, slots=True)
class AutotuneFile:
    """Content of an autotune file: the environment where it was made, and the tactic of each key as JSON."""

    metadata: Mapping[str, str]
    tactics: Mapping[str, Any]  # key -> [runner, tactic]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A property of the environment that differs between where the file was made and here."""

    name: str
    saved: str | None  # None if the version that made the file didn't record it
    current: str

    def __str__(self) -> str:
        return f"{self.name} is {self.current} here, and was {self.saved or 'not recorded'} where it was tuned"


def version(text: str) -> Version | None:
    """Parses a version: ``0.6.8.post1`` -> (0, 6, 8). Returns None for other text."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def read(data: bytes, what: str) -> AutotuneFile:
    """Reads a file that ``AutoTuner.save_configs`` wrote.

    Raises:
        MalformedError: ``data`` is not an autotune file.
    """
    value = decode(dict, data, what, SIZE_LIMIT)
    metadata = value.get(METADATA, {})
    entries = {key: entry for key, entry in value.items() if not key.startswith("_")}  # the others are metadata
    if not isinstance(metadata, dict) or not all(isinstance(e, list) and len(e) in PARTS for e in entries.values()):
        raise MalformedError(f"{what} is no autotune file: each of its keys should have a runner and a tactic")
    tactics = {key: entry[:2] for key, entry in entries.items()}
    return AutotuneFile({name: str(saved) for name, saved in metadata.items()}, tactics)


def mismatches(saved: Mapping[str, str], current: Mapping[str, str]) -> tuple[Mismatch, ...]:
    """Returns the mismatches for which FlashInfer would skip the whole file, with no more than a warning.

    Args:
        saved: metadata of the file. A file without metadata is valid everywhere.
        current: metadata that FlashInfer reports here.
    """
    if not saved:
        return ()
    facts = (Mismatch(name, saved.get(name), here) for name, here in sorted(current.items()))
    return tuple(fact for fact in facts if fact.saved not in (fact.current, ANY))


def digest(tactics: Mapping[str, Any]) -> str:
    """Returns the SHA-256, in hex, of the tactic of each operator. It is equal if the same kernels run."""
    return hashlib.sha256(canonical(tactics)).hexdigest()


def keys(flashinfer: str) -> Keys:
    """Returns what the keys of this version of FlashInfer hold. An unknown version is assumed to hold rank indices."""
    found = version(flashinfer)
    if found is None:
        return "ShapesAndRanks"
    return [held for since, held in KEYS if found >= since][-1]


def keeps(vllm: str, world_size: int) -> Keeps | None:
    """Returns what this version of vLLM keeps of its own tuning with ``world_size`` ranks, or None if unknown."""
    found = version(vllm)
    rows = [row for row in KEEPS if found is not None and found >= row[0]]
    if not rows:
        return None
    _, alone, several = rows[-1]
    return alone if world_size == 1 else several


def file_names(vllm: str, world_size: int) -> tuple[str, ...]:
    """Returns the names under which the ranks of a replica look for their file; empty if they look for none."""
    match keeps(vllm, world_size):
        case "File":
            return (FILE,)
        case "FilePerRank":
            stem, dot, suffix = FILE.rpartition(".")
            return tuple(f"{stem}_dp0_rank{rank}{dot}{suffix}" for rank in range(world_size))
        case _:
            return ()


def objection(flashinfer: str, world_size: int) -> str:
    """Returns why one rank's file is unsafe on the other ranks of a replica; empty if it is safe."""
    if world_size == 1 or keys(flashinfer) == "Shapes":
        return ""
    return f"FlashInfer {flashinfer or '?'} writes rank indices into its keys: one rank's file doesn't fit another"


def absence(versions: Mapping[str, str], world_size: int, *, tuned_nothing: bool) -> LayerNote | None:
    """Returns a note that explains why an engine left no autotune file, or None if the reason is unknown.

    Args:
        versions: distributions that the engine's interpreter has.
        world_size: number of ranks in one replica.
        tuned_nothing: whether the engine logged that it had nothing to tune.
    """
    vllm = versions.get("vllm", "")
    if "flashinfer-python" not in versions:
        return None
    if tuned_nothing:
        return LayerNote(LAYER, "NotCacheable", "the engine had no operator to tune: it runs FlashInfer's defaults")
    if keeps(vllm, world_size) == "Nothing":
        return LayerNote(LAYER, "NotCacheable", no_file(vllm, world_size))
    return None


def no_file(vllm: str, world_size: int) -> str:
    """Returns why this version of vLLM reads no autotune file of another program; empty if it reads one."""
    match keeps(vllm, world_size):
        case "Nothing":
            return f"vLLM {vllm} keeps nothing of its tuning with {world_size} rank(s) per replica: each start tunes"
        case "Store":
            return f"vLLM {vllm} keeps its tuning in FlashInfer's own store, which only an engine fills: use Engine"
        case None:
            return f"what vLLM {vllm or '(none found)'} keeps of its tuning is not known: let the engine tune itself"
        case _:
            return ""
