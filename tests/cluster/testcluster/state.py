"""The description of one cluster, and the paths of its files."""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from testcluster.cache import ClusterError
from testcluster.network import Network

API_PORT = 6443
S3_PORT = 9000
S3_TLS_PORT = 9443
S3_TLS_NAME = "s3.tunecast.test"  # no name server resolves it: clients need a proxy that does
S3_REGION = "us-east-1"
BUCKET = "tunecast"
CHECKOUT = Path(__file__).resolve().parents[3]


def default_name(checkout: Path = CHECKOUT) -> str:
    """Return the name of this checkout's cluster; each checkout on a machine has its own."""
    word = re.sub(r"[^a-z0-9]+", "-", checkout.name.lower()).strip("-")[:16] or "checkout"
    return f"{word}-{hashlib.sha256(str(checkout).encode()).hexdigest()[:6]}"


def state_dir(name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?", name):
        raise ClusterError(f"--name {name}: give a DNS label of at most 30 characters")
    # Short, because a unix socket's path may have 107 characters.
    return Path(os.environ.get("TUNECAST_STATE") or "/var/tmp/tunecast") / name


@dataclass(frozen=True)
class Cluster:
    """The description of a cluster, which the supervisor reads from the state folder."""

    name: str
    network: Network
    control_plane_only: bool
    gpus: int
    programs: str
    node_root: str
    engine: str
    cache: str
    disk: str = ""  # size of the disk for pods' volumes, such as 512m; "" is the host's disk
    nodes: int = 1

    @property
    def state(self) -> Path:
        return state_dir(self.name)

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    @property
    def server(self) -> str:
        return f"https://{self.network.node}:{API_PORT}"

    @property
    def s3_endpoint(self) -> str:
        return f"http://{self.network.node}:{S3_PORT}"

    @property
    def s3_tls_endpoint(self) -> str:
        """The address of the same buckets with TLS by the cluster's own authority."""
        return f"https://{S3_TLS_NAME}:{S3_TLS_PORT}"

    def write(self) -> None:
        (self.state / "cluster.json").write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, name: str) -> "Cluster":
        path = state_dir(name) / "cluster.json"
        if not path.exists():
            raise ClusterError(f"no cluster named {name}: run 'python3 tests/cluster up' first")
        fields = json.loads(path.read_text())
        try:
            return cls(**{**fields, "network": Network(**fields["network"])})
        except TypeError:
            raise ClusterError(f"{name} is from another version: run 'down' and 'up' to replace it") from None


@dataclass(frozen=True)
class Node:
    """One of a cluster's nodes, by its number. The first one shares the network namespace of the control plane."""

    cluster: Cluster
    number: int = 1

    @property
    def name(self) -> str:
        return self.cluster.name + self.suffix

    @property
    def suffix(self) -> str:
        """The suffix of the names of this node's components."""
        return "" if self.number == 1 else f"-{self.number}"

    @property
    def folder(self) -> Path:
        return self.cluster.state / f"node{self.suffix}"

    @property
    def address(self) -> str:
        return self.cluster.network.address(self.number)

    @property
    def pods(self) -> str:
        return self.cluster.network.pods_of(self.number, self.cluster.nodes)

    @property
    def cgroup(self) -> str:
        """The node's group below the cluster's: a kubelet removes unknown groups beside its own."""
        own = [] if self.number == 1 else [f"node{self.suffix}"]
        return "/".join([cgroup_name(self.cluster.name), *own])


def nodes(cluster: Cluster) -> list[Node]:
    """Return all nodes; a control plane alone has none."""
    return [] if cluster.control_plane_only else [Node(cluster, n + 1) for n in range(cluster.nodes)]


def cgroup_name(name: str) -> str:
    return f"tunecast-{name}"
