"""Starts a cluster and stops it, from any state."""

import functools
import os
import shutil
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from testcluster import builds, cgroups, controlplane, credentials, engine, network, node, processes, s3, seed
from testcluster.api import Api
from testcluster.cache import Cache, ClusterError, locked, report
from testcluster.shell import tail
from testcluster.state import Cluster, nodes, state_dir


def build(cache: Cache, *, control_plane_only: bool, with_engine: bool = False) -> None:
    """Build in parallel lanes; if two lanes need the same folder, one builds it and the other waits."""
    lanes: list[Callable[[Cache], Path]] = [builds.programs]
    lanes += [] if control_plane_only else [seed.ensure, builds.node_root]
    lanes += [engine.build] if with_engine else []
    with ThreadPoolExecutor() as pool:
        for done in as_completed([pool.submit(lane, cache) for lane in lanes]):
            done.result()


def up(cache: Cache, name: str, *, control_plane_only: bool, gpus: int, disk: str = "", count: int = 1) -> Cluster:
    _need_root()
    with locked(_lock_path(name)):
        if _is_up(name, control_plane_only=control_plane_only, gpus=gpus, count=count):
            report(f"{name} is up")
            return Cluster.read(name)
        build(cache, control_plane_only=control_plane_only)
        started = time.monotonic()
        _clear(name)
        cluster = _start(cache, name, control_plane_only=control_plane_only, gpus=gpus, disk=disk, count=count)
        _wait_until_ready(cluster)
        (cluster.state / "ready").touch()
        report(f"{name} is up in {time.monotonic() - started:.1f} s")
        return cluster


def down(name: str) -> None:
    _need_root()
    with locked(_lock_path(name)):
        _clear(name)
        _lock_path(name).unlink()
    report(f"{name} is down")


def _need_root() -> None:
    if os.geteuid():
        raise ClusterError("namespaces and a kubelet require root: run this as root")


def _lock_path(name: str) -> Path:
    folder = state_dir(name)
    return folder.with_name(f".{folder.name}.lock")


def _is_up(name: str, *, control_plane_only: bool, gpus: int, count: int) -> bool:
    if not (state_dir(name) / "ready").exists() or not processes.is_alive(name):
        return False
    try:
        cluster = Cluster.read(name)
    except ClusterError:  # left by another version
        return False
    wanted = (control_plane_only, gpus, count)
    return (cluster.control_plane_only, cluster.gpus, cluster.nodes) == wanted and Api(cluster).ready()


def _start(cache: Cache, name: str, *, control_plane_only: bool, gpus: int, disk: str, count: int) -> Cluster:
    with locked(state_dir(name).with_name(".network.lock")):  # until the link shows that the number is taken
        chosen = network.choose(name)
        cluster = _describe(
            cache, name, chosen, control_plane_only=control_plane_only, gpus=gpus, disk=disk, count=count
        )
        _write_state(cluster)
        if not control_plane_only:
            for one in nodes(cluster):
                seed.plant(seed.ensure(cache), node.containerd_store(one))
        processes.launch(cluster)
        _wait(lambda: processes.has_own_network(name), 30, cluster, "the supervisor")
        network.connect(name, chosen, processes.supervisor_pid(name))
    return cluster


def _describe(
    cache: Cache, name: str, chosen: network.Network, *, control_plane_only: bool, gpus: int, disk: str, count: int
) -> Cluster:
    whole = not control_plane_only
    return Cluster(
        name=name,
        network=chosen,
        control_plane_only=control_plane_only,
        gpus=gpus,
        programs=str(builds.programs(cache)),
        node_root=str(builds.node_root(cache)) if whole else "",
        engine=str(engine.folder(cache)),
        cache=str(cache.root),
        disk=disk,
        nodes=count,
    )


def _write_state(cluster: Cluster) -> None:
    cluster.logs.mkdir(parents=True)
    credentials.write(cluster)
    s3.write_keys(cluster)
    controlplane.write_files(cluster)
    for one in nodes(cluster):
        node.write_files(one)
        cgroups.make(one.cgroup)
    cluster.write()


def _wait_until_ready(cluster: Cluster) -> None:
    api = Api(cluster)
    _wait(api.ready, 60, cluster, "the API server")
    _wait(lambda: s3.ready(cluster), 30, cluster, "S3")
    s3.create_bucket(cluster)
    _wait(api.takes_pods, 30, cluster, "the service account of the default namespace")
    if cluster.control_plane_only:
        return
    for one in nodes(cluster):
        _wait(functools.partial(api.node_ready, one.name), 90, cluster, f"the node {one.name}")
    _wait(lambda: _answers(f"http://{cluster.network.node}:8181/ready"), 30, cluster, "CoreDNS")
    if cluster.gpus:
        gpus = {"nvidia.com/gpu": str(cluster.gpus)}
        status = {"status": {"capacity": gpus, "allocatable": gpus}}
        for one in nodes(cluster):
            api.call("PATCH", f"/api/v1/nodes/{one.name}/status", status)


def _answers(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(address, timeout=2).close()
    except OSError:
        return False
    return True


def _wait(condition: Callable[[], bool], seconds: float, cluster: Cluster, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if not processes.is_alive(cluster.name):
            raise ClusterError(f"{cluster.name} ended while it waited for {what}\n{_last_words(cluster)}")
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} of {cluster.name} is not ready after {seconds} s\n{_last_words(cluster)}")
        time.sleep(0.1)


def _last_words(cluster: Cluster) -> str:
    logs = sorted(set(cluster.logs.glob("*.log")) - {cluster.audit_log})
    return "\n".join(f"--- {log}\n{tail(log, 8)}" for log in logs)


def _clear(name: str) -> None:
    """Remove everything that a running or dead cluster of this name may have left."""
    processes.kill(name)
    network.disconnect(name)
    cgroups.remove(name)
    if state_dir(name).exists():
        shutil.rmtree(state_dir(name))
