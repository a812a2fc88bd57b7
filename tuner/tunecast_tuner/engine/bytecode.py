"""Counts the modules of the engine for which the image lacks bytecode.

PYTHONPYCACHEPREFIX is worth setting only if many lack it, because Python then ignores the image's own bytecode.
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
    """Number of source files, and number of those for which the image holds valid bytecode."""

    sources: int
    compiled: int

    @property
    def much_missing(self) -> bool:
        """Whether a third or more lacks bytecode, as in images with torch's bytecode and without vLLM's."""
        return 3 * (self.sources - self.compiled) >= max(self.sources, 1)


def refusal(environment: Mapping[str, str], excluded: Iterable[str]) -> str | None:
    """Returns why the layer is impossible without counting, or None."""
    if LAYER in excluded:
        return "excluded by cache.layers.exclude"
    if environment.get(DONT_WRITE):
        return f"{DONT_WRITE} is set: the engine writes no bytecode"
    return None


def prefix(mount_path: str) -> dict[str, str]:
    """Returns the variable that makes Python write the layer."""
    return {PYCACHE_VARIABLE: f"{mount_path}/{PYCACHE_DIRECTORY}"}


def scan(interpreter: Interpreter) -> Count:
    """Counts all modules that the interpreter could import: an estimate before the engine starts."""
    magic = bytes.fromhex(interpreter.magic)
    sources = compiled = 0
    roots = {os.path.realpath(entry) for entry in interpreter.path if os.path.isdir(entry)}  # noqa: PTH112
    for root in sorted(roots):
        for directory, names, files in os.walk(root):
            # A root below another root is walked separately.
            names[:] = [n for n in names if n != "__pycache__" and os.path.join(directory, n) not in roots]  # noqa: PTH118
            modules = [name for name in files if name.endswith(".py")]
            sources += len(modules)
            compiled += _compiled(directory, modules, interpreter.cache_tag, magic)
    return Count(sources, compiled)


def imported(mount_path: str) -> Count:
    """Counts the modules that the engine imported, from the bytecode files that it wrote below the prefix."""
    root = Path(mount_path, PYCACHE_DIRECTORY)
    sources = compiled = 0
    for path in root.rglob("*.pyc"):
        source_directory = Path("/", path.parent.relative_to(root))
        if source_directory.is_relative_to(mount_path):
            continue  # a module of a cache, which no image holds
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
    """Whether an interpreter with the magic number ``magic`` would load ``cached`` instead of ``source``."""
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
        return True  # validated by hash, independent of times
    return bool(mtime == int(stat.st_mtime) & 0xFFFFFFFF and size == stat.st_size & 0xFFFFFFFF)
