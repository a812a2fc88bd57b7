"""FlashInfer's autotune files: what is in one, whom it fits, and what engines keep of them. Pure.

Read in the wheels of FlashInfer 0.6.8 to 0.7.2 and of vLLM 0.26 and 0.32. What wasn't looked at is None.
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
TACTICS_LAYER = "FlashInferTactics"  # the same, for engines that look for no file: a plugin loads it
METADATA = "_metadata"
PARTS = (2, 3)  # of an entry: runner, tactic; from 0.7.1 on also how it was measured
ANY = "*"  # a saved value that fits everywhere
SIZE_LIMIT = 64 * 2**20  # bytes of one file

Version = tuple[int, int, int]
Keys = Literal["Shapes", "ShapesAndRanks"]  # what an entry's key holds, of fused MoE operators
Keeps = Literal["File", "FilePerRank", "Store", "Nothing"]  # what an engine keeps of its own tuning

# From which FlashInfer on: before 0.6.18 keys hold shapes alone, then rank indices too, from 0.7.2 on no longer.
KEYS: tuple[tuple[Version, Keys], ...] = (
    ((0, 0, 0), "Shapes"),
    ((0, 6, 18), "ShapesAndRanks"),
    ((0, 7, 2), "Shapes"),
)
# From which vLLM on: with one rank in a replica, and with several. Store: FlashInfer's own, an entry a file.
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
    """One file: where it was made, and the tactic of each key as JSON."""

    metadata: Mapping[str, str]
    tactics: Mapping[str, Any]  # key -> [runner, tactic]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A fact of the place where a file was made that is another one here."""

    name: str
    saved: str | None  # None: a version that didn't record it made the file
    current: str

    def __str__(self) -> str:
        return f"{self.name} is {self.current} here, and was {self.saved or 'not recorded'} where it was tuned"


def version(text: str) -> Version | None:
    """``0.6.8.post1`` -> (0, 6, 8); None for what is no version."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def read(data: bytes, what: str) -> AutotuneFile:
    """Reads what ``AutoTuner.save_configs`` wrote.

    Raises:
        MalformedError: it is something else.
    """
    value = decode(dict, data, what, SIZE_LIMIT)
    metadata = value.get(METADATA, {})
    entries = {key: entry for key, entry in value.items() if not key.startswith("_")}  # others than keys: since 0.6.18
    if not isinstance(metadata, dict) or not all(isinstance(e, list) and len(e) in PARTS for e in entries.values()):
        raise MalformedError(f"{what} is no autotune file: each of its keys should have a runner and a tactic")
    tactics = {key: entry[:2] for key, entry in entries.items()}
    return AutotuneFile({name: str(saved) for name, saved in metadata.items()}, tactics)


def mismatches(saved: Mapping[str, str], current: Mapping[str, str]) -> tuple[Mismatch, ...]:
    """Why FlashInfer would skip the whole file; it says so in one warning, and goes on without.

    Args:
        saved: the file's metadata. A file without any fits everywhere.
        current: what FlashInfer says of this place.
    """
    if not saved:
        return ()
    facts = (Mismatch(name, saved.get(name), here) for name, here in sorted(current.items()))
    return tuple(fact for fact in facts if fact.saved not in (fact.current, ANY))


def digest(tactics: Mapping[str, Any]) -> str:
    """SHA-256, hex, of which tactic runs what: equal where the same kernels run."""
    return hashlib.sha256(canonical(tactics)).hexdigest()


def keys(flashinfer: str) -> Keys:
    """What the keys of this FlashInfer hold. Of an unknown version the worse is assumed."""
    found = version(flashinfer)
    if found is None:
        return "ShapesAndRanks"
    return [held for since, held in KEYS if found >= since][-1]


def keeps(vllm: str, world_size: int) -> Keeps | None:
    """What this vLLM keeps of its own tuning, with so many ranks in a replica; None where that isn't known."""
    found = version(vllm)
    rows = [row for row in KEEPS if found is not None and found >= row[0]]
    if not rows:
        return None
    _, alone, several = rows[-1]
    return alone if world_size == 1 else several


def file_names(vllm: str, world_size: int) -> tuple[str, ...]:
    """The names under which one file is found by all ranks of a replica; none where no file is looked for."""
    match keeps(vllm, world_size):
        case "File":
            return (FILE,)
        case "FilePerRank":
            stem, dot, suffix = FILE.rpartition(".")
            return tuple(f"{stem}_dp0_rank{rank}{dot}{suffix}" for rank in range(world_size))
        case _:
            return ()


def objection(flashinfer: str, world_size: int) -> str:
    """Why one rank's file is not safe on the other ranks of a replica; empty where it is."""
    if world_size == 1 or keys(flashinfer) == "Shapes":
        return ""
    return f"FlashInfer {flashinfer or '?'} writes rank indices into its keys: one rank's file doesn't fit another"


def absence(versions: Mapping[str, str], world_size: int, *, tuned_nothing: bool) -> LayerNote | None:
    """Why an engine left no autotune file, as far as that is known.

    Args:
        versions: distributions that the engine's interpreter has.
        world_size: ranks of one replica.
        tuned_nothing: whether the engine said that it had nothing to tune.
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
    """Why this vLLM looks for no autotune file that another program could put there; empty where it looks for one."""
    match keeps(vllm, world_size):
        case "Nothing":
            return f"vLLM {vllm} keeps nothing of its tuning with {world_size} rank(s) per replica: each start tunes"
        case "Store":
            return f"vLLM {vllm} keeps its tuning in FlashInfer's own store, which only an engine fills: use Engine"
        case None:
            return f"what vLLM {vllm or '(none found)'} keeps of its tuning is not known: let the engine tune itself"
        case _:
            return ""
