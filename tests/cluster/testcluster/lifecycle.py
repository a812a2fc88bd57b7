"""Bring a cluster up, take it down, whatever state either finds."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from testcluster import builds, controlplane, credentials, engine, images, network, node, s3
from testcluster.api import Api
from testcluster.cache import Cache, ClusterError, locked, say
from testcluster.jail import PACKAGE_ROOT, jailed
from testcluster.shell import run, tail
from testcluster.state import Cluster, cgroup_name, state_dir

CGROUPS = Path("/sys/fs/cgroup")


def build(cache: Cache, *, control_plane_only: bool) -> None:
    modules = builds.CONTROL_PLANE_MODULES
    if not control_plane_only:
        modules += builds.NODE_MODULES
    for module in modules:
        builds.programs(cache, module)
    if not control_plane_only:
        images.ensure_stock(cache)


def up(cache: Cache, name: str, *, control_plane_only: bool, gpus: int) -> Cluster:
    _need_root()
    with locked(_lock_path(name)):
        if _is_up(name, control_plane_only=control_plane_only, gpus=gpus):
            say(f"{name} is up")
            return Cluster.read(name)
        build(cache, control_plane_only=control_plane_only)
        started = time.monotonic()
        _clear(name)
        cluster = _start(cache, name, control_plane_only=control_plane_only, gpus=gpus)
        _wait_until_ready(cache, cluster)
        (cluster.state / "ready").touch()
        say(f"{name} is up in {time.monotonic() - started:.1f} s")
        return cluster


def down(name: str) -> None:
    _need_root()
    with locked(_lock_path(name)):
        _clear(name)
    say(f"{name} is down")


def supervisor_pid(name: str) -> int:
    """PID 1 of the cluster, as the host sees it."""
    for pid in _unshare_pids(name):
        children = Path(f"/proc/{pid}/task/{pid}/children")
        if children.exists() and (words := children.read_text().split()):
            return int(words[0])
    raise ClusterError(f"{name} is not running: run 'python3 tests/cluster up' first")


def _need_root() -> None:
    if os.geteuid():
        raise ClusterError("namespaces and a kubelet take root: run this as root")


def _lock_path(name: str) -> Path:
    folder = state_dir(name)
    return folder.with_name(f".{folder.name}.lock")


def _is_up(name: str, *, control_plane_only: bool, gpus: int) -> bool:
    if not (state_dir(name) / "ready").exists() or not _unshare_pids(name):
        return False
    cluster = Cluster.read(name)
    wanted = (control_plane_only, gpus)
    return (cluster.control_plane_only, cluster.gpus) == wanted and Api(cluster).ready()


def _start(cache: Cache, name: str, *, control_plane_only: bool, gpus: int) -> Cluster:
    whole = not control_plane_only
    cluster_network = network.choose(name)
    cluster = Cluster(
        name=name,
        network=cluster_network,
        control_plane_only=control_plane_only,
        gpus=gpus,
        kubernetes=str(builds.programs(cache, "kubernetes")),
        versitygw=str(builds.programs(cache, "versitygw")),
        coredns=str(builds.programs(cache, "coredns")) if whole else "",
        helm=str(builds.programs(cache, "helm")) if whole else "",
        node_root=str(builds.node_root(cache)) if whole else "",
        engine=str(engine.folder(cache)),
        cache=str(cache.root),
    )
    _write_state(cluster)
    with locked(cluster.state.with_name(".network.lock")):
        return _launch(cluster)


def _write_state(cluster: Cluster) -> None:
    cluster.logs.mkdir(parents=True)
    credentials.write(cluster)
    s3.write_keys(cluster)
    controlplane.write_files(cluster)
    if not cluster.control_plane_only:
        node.write_files(cluster)
        _make_cgroups(cluster.name)
    cluster.write()


def _launch(cluster: Cluster) -> Cluster:
    command: list[str | Path] = [sys.executable, PACKAGE_ROOT, "supervise", cluster.name]
    words = [str(word) for word in jailed(command, network=True)]
    with (cluster.logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    process.returncode = 0  # it outlives this command: not a child to complain of
    _wait(lambda: _has_own_network(cluster.name), 10, cluster, "the supervisor")
    network.connect(cluster.name, cluster.network, supervisor_pid(cluster.name))
    return cluster


def _has_own_network(name: str) -> bool:
    try:
        pid = supervisor_pid(name)
        return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    except (ClusterError, OSError):
        return False


def _wait_until_ready(cache: Cache, cluster: Cluster) -> None:
    api = Api(cluster)
    _wait(api.ready, 60, cluster, "the API server")
    _wait(lambda: s3.ready(cluster), 30, cluster, "S3")
    s3.create_bucket(cluster)
    if cluster.control_plane_only:
        return
    _wait(lambda: _has_containerd(cluster), 30, cluster, "containerd")
    for archive in images.ensure_stock(cache):
        images.load(cluster, supervisor_pid(cluster.name), archive)
    _wait(lambda: api.node_ready(cluster.name), 90, cluster, "the node")
    _wait(lambda: _answers(f"http://{cluster.network.node}:8181/ready"), 30, cluster, "CoreDNS")
    if cluster.gpus:
        capacity = {"status": {"capacity": {"nvidia.com/gpu": str(cluster.gpus)}}}
        api.call("PATCH", f"/api/v1/nodes/{cluster.name}/status", capacity)


def _has_containerd(cluster: Cluster) -> bool:
    pid = supervisor_pid(cluster.name)
    return Path(f"/proc/{pid}/root{cluster.state}/mnt/root/run/containerd/containerd.sock").exists()


def _answers(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(address, timeout=2).close()
        return True
    except OSError:
        return False


def _wait(condition: Callable[[], bool], seconds: float, cluster: Cluster, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"--- {p}\n{tail(p, 8)}" for p in sorted(cluster.logs.glob("*.log")) if p != cluster.audit_log)
            raise ClusterError(f"{what} of {cluster.name} is not ready after {seconds} s\n{logs}")
        time.sleep(0.1)


def _unshare_pids(name: str) -> list[int]:
    """The process table is the record: it is right even after a kill -9 of `up`."""
    wanted = [str(PACKAGE_ROOT.name), "supervise", name]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            words = _command_line(entry)
            if words[:1] == ["unshare"] and words[-2:] == wanted[-2:]:
                found.append(int(entry.name))
    return found


def _command_line(entry: Path) -> list[str]:
    try:
        return (entry / "cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []  # it has ended meanwhile


def _clear(name: str) -> None:
    """Remove all that a cluster of this name may have left, running or dead."""
    for pid in _unshare_pids(name):
        os.kill(pid, signal.SIGKILL)
    _wait_until_gone(name)
    network.disconnect(name)
    _remove_cgroups(name)
    if state_dir(name).exists():
        shutil.rmtree(state_dir(name))


def _wait_until_gone(name: str) -> None:
    """PID 1 dies with its parent, and ends last: then nothing of the cluster runs."""
    deadline = time.monotonic() + 20
    while _members(name):
        if time.monotonic() > deadline:
            raise ClusterError(f"processes of {name} are still there: {_members(name)}")
        time.sleep(0.05)


def _members(name: str) -> list[int]:
    """Supervisors of this name, with or without the unshare that started them."""
    entries = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [int(e.name) for e in entries if _command_line(e)[-2:] == ["supervise", name]]


def _hierarchies() -> list[Path]:
    """cgroup v1 has one tree for each controller, v2 one for all."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [p for p in CGROUPS.iterdir() if p.is_dir() and p.name != "unified" and not p.is_symlink()]


def _make_cgroups(name: str) -> None:
    for hierarchy in _hierarchies():
        group = hierarchy / cgroup_name(name)
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / file).exists():
                (group / file).write_text((hierarchy / file).read_text())


def _remove_cgroups(name: str) -> None:
    for hierarchy in _hierarchies():
        group = hierarchy / cgroup_name(name)
        for folder, _, _ in os.walk(group, topdown=False):
            _remove_cgroup(Path(folder))


def _remove_cgroup(folder: Path) -> None:
    """The kernel counts a dead process as a member for a moment longer."""
    deadline = time.monotonic() + 10
    while True:
        try:
            folder.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
