"""Puts the rank program where a tuning pod's engine image can run it."""

from __future__ import annotations

import shutil
from pathlib import Path

SOURCE = "/opt/tunecast/tools"


def copy_tools(source: Path, destination: Path) -> int:
    """Copies a directory of Python files, for any user to read; returns how many. An earlier copy is overwritten."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(source, destination, dirs_exist_ok=True, ignore=ignore, copy_function=shutil.copyfile)
    files = [path for path in destination.rglob("*") if path.is_file()]
    for path in files:
        path.chmod(0o644)
    return len(files)
