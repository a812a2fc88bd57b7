"""The addresses of one cluster, and the veth pair that connects it to the host."""

import hashlib
import ipaddress
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from testcluster.cache import ClusterError
from testcluster.shell import run


@dataclass(frozen=True)
class Network:
    """The addresses of one cluster. Each cluster has its own number, and so its own link, pod and service range."""

    number: int

    @property
    def gateway(self) -> str:
        return f"10.213.{self.number}.1"

    @property
    def node(self) -> str:
        """The address of the first node, which also runs the control plane."""
        return self.address(1)

    def address(self, node: int) -> str:
        """Return the address of a node by its number, which starts at 1."""
        return f"10.213.{self.number}.{1 + node}"

    @property
    def pods(self) -> str:
        return f"10.214.{self.number}.0/24"

    def pods_of(self, node: int, nodes: int) -> str:
        """Return the part of ``pods`` for one node's pods; a single node has the whole range."""
        parts = ipaddress.ip_network(self.pods).subnets((nodes - 1).bit_length())
        return str([*parts][node - 1])

    @property
    def services(self) -> str:
        return f"10.215.{self.number}.0/24"

    @property
    def kubernetes_service(self) -> str:
        return f"10.215.{self.number}.1"

    @property
    def ranges(self) -> list[str]:
        return [f"10.213.{self.number}.0/24", self.pods, self.services]


def choose(name: str) -> Network:
    """Return a free number; the routing table shows the numbers in use."""
    routes = json.loads(run(["ip", "-json", "route"]))
    used = [ipaddress.ip_network(r["dst"]) for r in routes if r["dst"] != "default"]
    first = hashlib.sha256(name.encode()).digest()[0]
    for offset in range(256):
        network = Network((first + offset) % 256)
        mine = [ipaddress.ip_network(text) for text in network.ranges]
        if not any(a.overlaps(b) for a in mine for b in used):
            return network
    raise ClusterError("no free 10.213.N.0/24: take down clusters that are not needed")


def link_name(name: str) -> str:
    """Return the name of a link, which may have 15 characters."""
    return "tc" + hashlib.sha256(name.encode()).hexdigest()[:10]


def connect(name: str, network: Network, pid: int) -> None:
    """Join the host to the network namespace of `pid`."""
    link = link_name(name)
    peer = ["peer", "name", "eth0", "netns", str(pid)]
    run(["ip", "link", "add", link, "type", "veth", *peer])
    run(["ip", "address", "add", f"{network.gateway}/24", "dev", link])
    run(["ip", "link", "set", link, "up"])
    for destination in (network.pods, network.services):
        run(["ip", "route", "add", destination, "via", network.node, "dev", link])


def disconnect(name: str) -> None:
    """Remove the link; the kernel may remove the link of a dead namespace at the same time."""
    link = Path("/sys/class/net", link_name(name))
    deadline = time.monotonic() + 10
    while link.exists():
        with suppress(ClusterError):
            run(["ip", "link", "delete", link.name])
        if time.monotonic() > deadline:
            raise ClusterError(f"the link {link.name} can't be removed: try 'ip link delete {link.name}'")


def configure_inside(network: Network) -> None:
    """Configure the link's end in the cluster's namespace. Its links are up only when this returns."""
    run(["ip", "link", "set", "lo", "up"])
    run(["ip", "address", "add", f"{network.node}/24", "dev", "eth0"])
    run(["ip", "link", "set", "eth0", "up"])
    run(["ip", "route", "add", "default", "via", network.gateway])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv4/conf/eth0/proxy_arp").write_text("1")  # the host reaches the other nodes through this one
