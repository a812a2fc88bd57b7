"""Makes and removes a cluster's control groups, which the kernel does not remove by itself."""

import os
import time
from contextlib import suppress
from pathlib import Path

from testcluster.cache import ClusterError
from testcluster.state import cgroup_name

ROOT = Path("/sys/fs/cgroup")


def make(name: str) -> None:
    """Make the kubelet's root group, which it requires; `name` is the path of the group."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / file).exists():
                (group / file).write_text((hierarchy / file).read_text())


def remove(name: str) -> None:
    for hierarchy in (*_hierarchies(), ROOT / "unified"):  # runc makes a group there too
        for folder, _, _ in os.walk(hierarchy / cgroup_name(name), topdown=False):
            _remove_one(Path(folder))


def _hierarchies() -> list[Path]:
    """Return the trees of groups: version 1 has one for each controller, version 2 has one for all."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [path for path in ROOT.iterdir() if path.name != "unified" and not path.is_symlink()]


def _remove_one(folder: Path) -> None:
    """Remove a group, and retry while the kernel still counts dead processes as members."""
    deadline = time.monotonic() + 10
    while folder.exists():
        with suppress(OSError):
            folder.rmdir()
            return
        if time.monotonic() > deadline:
            raise ClusterError(f"{folder} still holds processes: see its file cgroup.procs")
        time.sleep(0.05)
