"""A cluster's control groups: the one thing of it that the kernel does not remove by itself."""

import os
import time
from contextlib import suppress
from pathlib import Path

from testcluster.cache import ClusterError
from testcluster.state import cgroup_name

ROOT = Path("/sys/fs/cgroup")


def make(name: str) -> None:
    """A kubelet asks that its root group exists: `name` is its path."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / file).exists():
                (group / file).write_text((hierarchy / file).read_text())


def remove(name: str) -> None:
    for hierarchy in (*_hierarchies(), ROOT / "unified"):  # runc makes one there too
        for folder, _, _ in os.walk(hierarchy / cgroup_name(name), topdown=False):
            _remove_one(Path(folder))


def _hierarchies() -> list[Path]:
    """Version 1 has one tree for each controller, version 2 one for all."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [path for path in ROOT.iterdir() if path.name != "unified" and not path.is_symlink()]


def _remove_one(folder: Path) -> None:
    """The kernel counts a dead process as a member for a moment longer."""
    deadline = time.monotonic() + 10
    while folder.exists():
        with suppress(OSError):
            folder.rmdir()
            return
        if time.monotonic() > deadline:
            raise ClusterError(f"{folder} still holds processes: see its file cgroup.procs")
        time.sleep(0.05)
