"""Finds the supervisor of a cluster in the process table, which is right even after a kill -9 of `up`."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from testcluster.cache import ClusterError
from testcluster.jail import PACKAGE_ROOT, jailed
from testcluster.state import Cluster, state_dir


def launch(cluster: Cluster) -> None:
    """Start the supervisor in new namespaces; it outlives this command."""
    command: list[object] = [sys.executable, PACKAGE_ROOT, "supervise", cluster.state]
    words = [str(word) for word in jailed(command, network=True)]
    with (cluster.logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    while not is_alive(cluster.name) and process.poll() is None:
        time.sleep(0.01)  # the process table shows its command line a moment after Popen returns
    process.returncode = 0  # otherwise Python would warn of a child left behind


def supervisor_pid(name: str) -> int:
    """Return the host's PID of the cluster's PID 1."""
    for pid in _members(name):
        if pid not in unshare_pids(name):
            return pid
    raise ClusterError(f"{name} is not running: run 'python3 tests/cluster up' first")


def has_own_network(name: str) -> bool:
    try:
        theirs = Path(f"/proc/{supervisor_pid(name)}/ns/net").readlink()
    except (ClusterError, OSError):
        return False
    return theirs != Path("/proc/self/ns/net").readlink()


def is_alive(name: str) -> bool:
    return bool(_members(name))


def unshare_pids(name: str) -> list[int]:
    return [pid for pid in _members(name) if _command_line(pid)[:1] == ["unshare"]]


def kill(name: str) -> None:
    """Kill the cluster. PID 1 dies with its parent and ends last, so nothing of the cluster runs after it."""
    deadline = time.monotonic() + 20
    while members := _members(name):
        if time.monotonic() > deadline:
            raise ClusterError(f"processes {members} of {name} do not end: look at them with ps")
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _members(name: str) -> list[int]:
    """Return the PIDs of the supervisor and of the unshare that started it."""
    wanted = ["supervise", str(state_dir(name))]
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in numbers if _command_line(pid)[-2:] == wanted]


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []  # the process has ended meanwhile
