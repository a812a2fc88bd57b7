"""A cluster with Tunecast installed, whose S3 traffic passes a proxy and whose processes can be found and killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness import deploy
from harness.kubectl import CommandError, Kubectl, wait_for
from support.faulty_s3 import FaultyS3, faulty
from testcluster.processes import supervisor_pid
from tunecast_core.trust.settings import StoreSettings

DISK_MIB = 512  # size of the disk that the pods' volumes share
PATIENCE_SECONDS = 120.0
BUG = "a bug in Tunecast"


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    words: tuple[str, ...]  # the command line
    cgroup: str

    @property
    def name(self) -> str:
        return self.words[0].rpartition("/")[2] if self.words else ""


@dataclass(frozen=True)
class World:
    name: str
    kubectl: Kubectl
    environment: dict[str, str]
    proxy: FaultyS3

    @property
    def store(self) -> StoreSettings:
        """The S3 server itself, without the proxy."""
        return StoreSettings(
            self.environment["TUNECAST_BUCKET"],
            "",
            self.environment["TUNECAST_S3_ENDPOINT"],
            self.environment["AWS_REGION"],
        )

    def patiently(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl, and retries while the API server is unavailable."""

        def once() -> list[str]:
            with suppress(CommandError):
                return [self.kubectl(*arguments, stdin=stdin, timeout=30)]
            return []

        return wait_for(once, f"kubectl {' '.join(arguments)}", PATIENCE_SECONDS)[0]

    def processes(self) -> list[Process]:
        """Returns all processes of the cluster: its components and its containers."""
        parents = {int(path.name): _parent(path) for path in Path("/proc").glob("[0-9]*")}
        first = supervisor_pid(self.name)
        return [_process(pid) for pid in parents if pid != first and _descends(pid, first, parents)]

    def kill(self, victim: Callable[[Process], bool]) -> int:
        """Sends SIGKILL to every victim; returns the number of victims."""
        victims = [process for process in self.processes() if victim(process)]
        for process in victims:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        return len(victims)

    @property
    def ballast(self) -> Path:
        """A file on the disk of the pods' volumes, reached through the root of the kubelet, which may be restarting."""
        kubelet = wait_for(self._kubelet, "a kubelet runs", PATIENCE_SECONDS)
        return Path(f"/proc/{kubelet.pid}/root/var/lib/kubelet/ballast")

    def _kubelet(self) -> Process | None:
        return next((process for process in self.processes() if process.name == "kubelet"), None)

    def empty_disk(self) -> None:
        """Removes the ballast, even if the kubelet restarts meanwhile."""
        wait_for(self._without_ballast, "the disk is emptied", PATIENCE_SECONDS)

    def _without_ballast(self) -> bool:
        ballast = self.ballast
        with suppress(FileNotFoundError):
            ballast.unlink()
        return ballast.parent.exists()  # false if the kubelet ended before the removal

    def bugs(self) -> list[str]:
        """Returns the log lines that report a bug, from this run of the operator's container and the previous one."""
        found = []
        for previous in ("--previous=false", "--previous=true"):
            with suppress(CommandError):
                log = self.kubectl("logs", "-n", deploy.SYSTEM_NAMESPACE, "deployment/tunecast", previous)
                found += [line for line in log.splitlines() if BUG in line]
        return found


def _parent(path: Path) -> int:
    with suppress(OSError):
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _descends(pid: int, first: int, parents: dict[int, int]) -> bool:
    while pid not in {0, 1, first}:
        pid = parents.get(pid, 0)
    return pid == first


def _process(pid: int) -> Process:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
        return Process(pid, tuple(words), Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        return Process(pid, (), "")  # the process has ended meanwhile


@contextmanager
def world() -> Iterator[World]:
    """Builds and starts the cluster, and always stops it at the end."""
    name = f"chaos-{os.getpid()}"
    try:
        deploy.build()
        deploy.cluster("up", "--name", name, "--disk", f"{DISK_MIB}m")
        environment = deploy.cluster_environment("--name", name)
        kubectl = Kubectl(environment)
        deploy.load_images("--name", name)
        with faulty(environment["TUNECAST_S3_ENDPOINT"], address=environment["TUNECAST_HOST_ADDRESS"]) as proxy:
            behind = {**environment, "TUNECAST_S3_ENDPOINT_IN_CLUSTER": proxy.endpoint}
            kubectl.apply(deploy.namespace(deploy.SYSTEM_NAMESPACE))
            kubectl.apply(deploy.s3_secret(deploy.SYSTEM_NAMESPACE, environment))
            deploy.install(kubectl, deploy.values(behind, initDeadlineSeconds=20))
            os.environ.update({key: environment[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")})
            yield World(name, kubectl, environment, proxy)
    finally:
        deploy.cluster("down", "--name", name)
