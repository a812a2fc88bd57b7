"""Copies the rank program to a volume from which the engine's image can run it."""

from __future__ import annotations

import shutil
from pathlib import Path

SOURCE = "/opt/tunecast/tools"


def copy_tools(source: Path, destination: Path) -> int:
    """Copies a directory of Python files, readable by any user. Returns the number of files.

    An earlier copy is overwritten. ``destination`` keeps its owner and mode, since it is the root of a volume.
    """
    files = sorted(path for path in source.rglob("*.py") if path.is_file())
    destination.mkdir(exist_ok=True)
    for path in files:
        inside = path.relative_to(source)
        for folder in reversed([destination / parent for parent in inside.parents if parent.name]):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)  # independently of the umask
        shutil.copyfile(path, destination / inside)
        (destination / inside).chmod(0o644)
    return len(files)
