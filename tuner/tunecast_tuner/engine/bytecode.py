"""Does the image lack bytecode for much of what the engine imports?

Only then is PYTHONPYCACHEPREFIX worth setting: with it Python ignores the image's own bytecode.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tunecast_core.bundle.layers import PYCACHE_DIRECTORY, PYCACHE_VARIABLE
from tunecast_tuner.engine.interpreter import Interpreter

LAYER = "PythonBytecode"
DONT_WRITE = "PYTHONDONTWRITEBYTECODE"


@dataclass(frozen=True, slots=True)
class Count:
    """Source files, and how many of them the image holds valid bytecode of."""

    sources: int
    compiled: int

    @property
    def much_missing(self) -> bool:
        """A third or more, as in images that hold torch's bytecode and not vLLM's."""
        return 3 * (self.sources - self.compiled) >= max(self.sources, 1)


def refusal(environment: Mapping[str, str], excluded: Iterable[str]) -> str | None:
    """Why the layer is out of the question before anything is counted, or None."""
    if LAYER in excluded:
        return "excluded by cache.layers.exclude"
    if environment.get(DONT_WRITE):
        return f"{DONT_WRITE} is set: the engine writes no bytecode"
    return None


def prefix(mount_path: str) -> dict[str, str]:
    """The variable that makes the layer."""
    return {PYCACHE_VARIABLE: f"{mount_path}/{PYCACHE_DIRECTORY}"}


def scan(interpreter: Interpreter) -> Count:
    """Counts in all that the interpreter could import: an estimate, before the engine has imported anything."""
    magic = bytes.fromhex(interpreter.magic)
    sources = compiled = 0
    roots = {os.path.realpath(entry) for entry in interpreter.path if os.path.isdir(entry)}  # noqa: PTH112
    for root in sorted(roots):
        for directory, names, files in os.walk(root):
            # A root below a root is walked in its own right.
            names[:] = [n for n in names if n != "__pycache__" and os.path.join(directory, n) not in roots]  # noqa: PTH118
            modules = [name for name in files if name.endswith(".py")]
            sources += len(modules)
            compiled += _compiled(directory, modules, interpreter.cache_tag, magic)
    return Count(sources, compiled)


def imported(mount_path: str) -> Count:
    """Counts what the engine did import, from what it left below the prefix; each has its source's path."""
    root = Path(mount_path, PYCACHE_DIRECTORY)
    sources = compiled = 0
    for path in root.rglob("*.pyc"):
        source_directory = Path("/", path.parent.relative_to(root))
        if source_directory.is_relative_to(mount_path):
            continue  # of a cache's own modules, which no image holds
        sources += 1
        compiled += (source_directory / "__pycache__" / path.name).exists()
    return Count(sources, compiled)


def _compiled(directory: str, modules: list[str], tag: str, magic: bytes) -> int:
    try:
        cached = set(os.listdir(f"{directory}/__pycache__"))  # noqa: PTH208
    except OSError:
        return 0
    pairs = ((f"{directory}/{name}", f"{name[:-3]}.{tag}.pyc") for name in modules)
    return sum(
        name in cached and valid(Path(source), Path(directory, "__pycache__", name), magic) for source, name in pairs
    )


def valid(source: Path, cached: Path, magic: bytes) -> bool:
    """Whether an interpreter of ``magic`` would take ``cached`` for ``source``."""
    try:
        with cached.open("rb") as file:
            header = file.read(16)
        stat = source.stat()
    except OSError:
        return False
    if len(header) != 16 or header[:4] != magic:  # noqa: PLR2004
        return False
    flags, mtime, size = struct.unpack("<III", header[4:])
    if flags & 1:
        return True  # by hash: independent of times
    return bool(mtime == int(stat.st_mtime) & 0xFFFFFFFF and size == stat.st_size & 0xFFFFFFFF)
