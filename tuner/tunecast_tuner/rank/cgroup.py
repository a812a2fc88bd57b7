"""Reads the kernel's out-of-memory counter of this container."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_FILES = ("memory.events", "memory/memory.oom_control")  # cgroup v2 and v1
_OOM_KILL = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills(root: Path = ROOT) -> int:
    """Returns how many of the container's processes were killed for lack of memory, or 0 if that is unknown."""
    for name in _FILES:
        try:
            found = _OOM_KILL.search((root / name).read_text())
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0
