"""PID 1 of a cluster's namespaces: starts its processes, reaps them, and restarts those that end.

When it dies, the kernel ends every process of the cluster, including containers, and
with the last of them the mounts, links and firewall rules.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from testcluster import controlplane, network, node
from testcluster.api import Api
from testcluster.controlplane import Component
from testcluster.state import Cluster, Node, nodes

RESTART_SECONDS = 1.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Running:
    component: Component
    process: subprocess.Popen[bytes] | None = None
    start_at: float = 0.0


class Supervisor:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._api = Api(cluster)
        self._api_was_ready = False
        self._slots = [Running(component) for component in controlplane.components(cluster)]

    def run(self) -> None:
        signal.signal(signal.SIGTERM, _leave)
        _wait_for_link()
        network.configure_inside(self._cluster.network)
        if not self._cluster.control_plane_only:
            for one in nodes(self._cluster):
                node.create(one)
            self._slots += [Running(part) for part in node.components(self._cluster)]
        while True:
            self._start_what_is_due()
            self._reap()
            time.sleep(0.1)

    def _start_what_is_due(self) -> None:
        self._api_was_ready = self._api_was_ready or self._api.ready()
        for slot in self._slots:
            waits = slot.component.needs_api and not self._api_was_ready
            if slot.process is None and not waits and time.monotonic() >= slot.start_at:
                slot.process = self._start(slot.component)

    def _start(self, component: Component) -> subprocess.Popen[bytes]:
        command = list(component.command)
        if component.in_node:
            command = [str(word) for word in node.inside(Node(self._cluster, component.in_node), command)]
        environment = {"PATH": PATH, "HOME": "/root", **dict(component.environment)}
        with (self._cluster.logs / f"{component.name}.log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _reap(self) -> None:
        """Reap children: every orphan in the namespace is one, including containers' shims."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for slot in self._slots:
                if slot.process is not None and slot.process.pid == pid:
                    slot.process.returncode = os.waitstatus_to_exitcode(status)
                    print(f"{slot.component.name} ended with {slot.process.returncode}: restarting it", flush=True)
                    slot.process, slot.start_at = None, time.monotonic() + RESTART_SECONDS


def _wait_for_link() -> None:
    """Wait for the link, which `up` makes on the host once it knows this process."""
    while not Path("/proc/self/net/dev").read_text().count("eth0"):
        time.sleep(0.01)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def supervise(name: str) -> None:
    Supervisor(Cluster.read(name)).run()
