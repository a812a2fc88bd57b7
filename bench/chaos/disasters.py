"""The disasters that a round can choose. Each function causes one disaster and returns a description of it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from chaos.user import User
from chaos.world import DISK_MIB, World
from harness.kubectl import CommandError
from support.faulty_s3 import Fault

Disaster = Callable[[World, User, random.Random], str]


def component(name: str) -> Disaster:
    """Kills one of the cluster's own processes, which is restarted within a second or two."""
    word = "server" if name == "etcd" else name

    def kill(world: World, _user: User, _chance: random.Random) -> str:
        return f"kill {name}: {world.kill(lambda process: process.name == word)}"

    return kill


def kill_operator(world: World, _user: User, _chance: random.Random) -> str:
    return f"kill the operator: {world.kill(lambda process: 'tunecast_operator' in process.words)}"


def kill_rank(world: World, user: User, chance: random.Random) -> str:
    """Kills the rank program of one pod."""
    uids = user.uids("tunecast.io/startup-cache")
    if not uids:
        return "kill a rank: there is none"
    uid = chance.choice(uids)
    killed = world.kill(lambda p: uid in p.cgroup and "python3" in p.name and not _is_engine(p.words))
    return f"kill a rank: {killed}"


def kill_ranks_engine(world: World, user: User, chance: random.Random) -> str:
    return _kill_engine(world, user, chance, "tunecast.io/startup-cache")


def kill_serving_engine(world: World, user: User, chance: random.Random) -> str:
    return _kill_engine(world, user, chance, "tunecast.io/inference-deployment")


def _kill_engine(world: World, user: User, chance: random.Random, label: str) -> str:
    uids = user.uids(label)
    if not uids:
        return f"kill an engine of {label}: there is none"
    uid = chance.choice(uids)
    return f"kill an engine of {label}: {world.kill(lambda p: uid in p.cgroup and _is_engine(p.words))}"


def _is_engine(words: tuple[str, ...]) -> bool:
    return len(words) > 1 and words[1].endswith("/standin.py")


def s3_faults(world: World, _user: User, chance: random.Random) -> str:
    """Some or all S3 requests meet faults until the round is calm."""
    rate, kinds = chance.choice((0.2, 0.5, 1.0)), chance.sample([*Fault], k=3)
    draws = random.Random(chance.random())
    world.proxy.choose = lambda _method, _path: draws.choice(kinds) if draws.random() < rate else None
    return f"S3: {rate:.0%} {'/'.join(kind.name for kind in kinds)}"


def full_disk(world: World, _user: User, _chance: random.Random) -> str:
    """Fills the disk of the pods' volumes; calm empties it."""
    ballast, piece = world.ballast, bytes(2**20)
    try:
        with ballast.open("wb") as file:
            for _ in range(DISK_MIB):
                file.write(piece)
    except OSError as error:
        return f"the disk is full: {error.strerror}"
    return "the disk is full"


def delete_pod(world: World, user: User, chance: random.Random) -> str:
    """Deletes a pod, as a drain would."""
    pods = user.pods("tunecast.io/inference-deployment") + user.pods("tunecast.io/startup-cache")
    if not pods:
        return "delete a pod: there is none"
    name = chance.choice(pods)["metadata"]["name"]
    return _kubectl(world, "delete", "pod", name, "-n", user.namespace, "--wait=false")


def delete_job(world: World, user: User, _chance: random.Random) -> str:
    return _kubectl(world, "delete", "jobs", "-n", user.namespace, "-l", "tunecast.io/startup-cache", "--wait=false")


def scale(_world: World, user: User, chance: random.Random) -> str:
    user.spec["replicas"] = chance.randrange(1, 4)
    user.apply()
    return f"the user scales to {user.spec['replicas']}"


def change(_world: World, user: User, chance: random.Random) -> str:
    """Rolls out a new revision, which has another key."""
    user.change(chance.randrange(3, 6))
    return f"the user changes arguments: {user.arguments[-1]}"


def trust(world: World, user: User, chance: random.Random) -> str:
    """Empties the list of trusted keys in the trust ConfigMap."""
    patch: dict[str, Any] = {"data": {"trust.json": "{}"}}
    outcome = _kubectl(world, "patch", "configmap", "tunecast-trust", "-n", user.namespace, "-p", json.dumps(patch))
    return f"{outcome}, {delete_pod(world, user, chance)}"


def _kubectl(world: World, *arguments: str) -> str:
    try:
        return world.kubectl(*arguments, timeout=30).strip() or f"{' '.join(arguments)}: nothing there"
    except CommandError as error:
        return str(error).splitlines()[-1]


DISASTERS: dict[str, Disaster] = {
    "operator": kill_operator,
    "operator again": kill_operator,
    "rank": kill_rank,
    "rank's engine": kill_ranks_engine,
    "serving engine": kill_serving_engine,
    "kubelet": component("kubelet"),
    "containerd": component("containerd"),
    "API server": component("kube-apiserver"),
    "etcd": component("etcd"),
    "controllers": component("kube-controller-manager"),
    "scheduler": component("kube-scheduler"),
    "S3 server": component("versitygw"),
    "S3 faults": s3_faults,
    "S3 faults again": s3_faults,
    "full disk": full_disk,
    "delete a pod": delete_pod,
    "delete a Job": delete_job,
    "scale": scale,
    "change": change,
    "trust": trust,
}
