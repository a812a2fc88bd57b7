"""Prometheus's own program for rules: checks them, and plays samples to them.

It is Debian's, some megabytes and two seconds: compiled from its module it would take minutes of a fresh machine's.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from testcluster.builds import unpacked
from testcluster.cache import Cache


def program() -> Path:
    """It, fetched where it isn't yet."""
    return unpacked(Cache.from_environment(), "prometheus") / "usr/bin/promtool"


def promtool(*arguments: str, folder: Path) -> tuple[int, str]:
    """Its exit code, and all that it says."""
    command = [str(program()), *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout
