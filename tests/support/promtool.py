"""Runs promtool, Prometheus's own checker and tester of rules.

It comes from Debian's package, which takes seconds; compiling it would take minutes on a fresh machine.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from testcluster.builds import unpacked
from testcluster.cache import Cache


def program() -> Path:
    """Returns the path of promtool, which is downloaded on first use."""
    return unpacked(Cache.from_environment(), "prometheus") / "usr/bin/promtool"


def promtool(*arguments: str, folder: Path) -> tuple[int, str]:
    """Runs promtool; returns its exit code and its output."""
    command = [str(program()), *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout
