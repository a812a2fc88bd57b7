"""What the kernel says of this container's memory."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_FILES = ("memory.events", "memory/memory.oom_control")  # of cgroup v2 and v1
_OOM_KILL = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills(root: Path = ROOT) -> int:
    """How many of the container's processes were killed so far for want of memory; 0 where nothing says."""
    for name in _FILES:
        try:
            found = _OOM_KILL.search((root / name).read_text())
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0
