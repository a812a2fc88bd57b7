"""A node: containerd, kubelet, kube-proxy and, on the first node, CoreDNS, in their own root file system."""

import json
import os
import subprocess
import sys
from pathlib import Path

from testcluster.cache import ClusterError
from testcluster.controlplane import Component, flags
from testcluster.jail import PACKAGE_ROOT, bind, mount_root, pivot
from testcluster.shell import Command, run
from testcluster.state import Cluster, Node, nodes

NAMESPACES = 100  # the supervisor's descriptors of the nodes' namespaces start here: two for each node
PAUSE_TAG = "localhost/pause:1"
ENGINE_MOUNT = Path("/opt/vllm")
GPU_PRODUCT = "NVIDIA-H100-80GB-HBM3"
# The kubelet writes these settings of the whole machine unless they already have its values.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def write_files(node: Node) -> None:
    folder = node.folder
    for name in ("kubelet", "containerd", "pods", "kernel"):
        (folder / name).mkdir(parents=True)
    files = {"kubelet.json": _kubelet(node), "proxy.json": _proxy(node.cluster), "cni.json": _cni(node)}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1))
    (folder / "containerd.toml").write_text(_containerd(node))
    (folder / "Corefile").write_text(_corefile(node.cluster))
    for setting, value in KERNEL_SETTINGS.items():
        (folder / "kernel" / setting.replace("/", ".")).write_text(value + "\n")


def create(node: Node) -> None:
    """Make the node's namespaces, which the supervisor's descriptors keep alive."""
    command = [sys.executable, str(PACKAGE_ROOT), "mount-node", str(node.cluster.state), str(node.number)]
    unshare = ["unshare", "--mount", *(["--net"] if node.number > 1 else [])]
    log_file = node.cluster.logs / f"node{node.suffix}.log"
    with log_file.open("ab") as log:
        maker = subprocess.Popen([*unshare, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    with maker:
        if maker.stdout is None or not maker.stdout.readline():
            raise ClusterError(f"the root of {node.name} could not be mounted: see {log_file}")
        for kind, descriptor in _descriptors(node).items():
            found = os.open(f"/proc/{maker.pid}/ns/{kind}", os.O_RDONLY)
            os.dup2(found, descriptor, inheritable=False)
            os.close(found)
        if node.number > 1:
            _join(node, maker.pid)


def _descriptors(node: Node) -> dict[str, int]:
    """Return the supervisor's descriptors by kind of namespace."""
    first = NAMESPACES + 2 * node.number
    return {"mnt": first} if node.number == 1 else {"mnt": first, "net": first + 1}


def _join(node: Node, pid: int) -> None:
    """Connect the network namespace of ``pid``, a further node's, to the cluster's, which routes for it."""
    link, inside = f"node{node.suffix}", ["nsenter", f"--target={pid}", "--net", "--"]
    run(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
    run(["ip", "address", "add", f"{node.cluster.network.node}/32", "dev", link])
    run(["ip", "link", "set", link, "up"])
    run([*inside, "ip", "link", "set", "lo", "up"])
    run([*inside, "ip", "address", "add", f"{node.address}/32", "dev", "eth0"])
    run([*inside, "ip", "link", "set", "eth0", "up"])
    run([*inside, "ip", "route", "add", "default", "via", node.cluster.network.node, "dev", "eth0", "onlink"])
    run([*inside, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    run(["ip", "route", "add", node.address, "dev", link])
    run(["ip", "route", "add", node.pods, "via", node.address, "dev", link, "onlink"])


def hold(node: Node) -> None:
    """Mount the node's root, report it, and stay until the supervisor has opened the namespaces."""
    mount(node)
    print("mounted", flush=True)
    sys.stdin.read()


def socket(node: Node) -> Path:
    """Return the path of containerd's socket in the state folder, which the host can reach too."""
    return node.folder / "containerd.sock"


def containerd_store(node: Node) -> Path:
    return node.folder / "containerd"


def inside(node: Node, command: Command) -> list[object]:
    """Run `command` in the node; call this in the supervisor's own namespaces."""
    words = {"mnt": "mount", "net": "net"}
    enter = [f"--{words[kind]}=/proc/1/fd/{descriptor}" for kind, descriptor in _descriptors(node).items()]
    return ["nsenter", *enter, "--", *command]


def mount(node: Node) -> None:
    """Build the node's root, in a mount namespace of its own."""
    folder, cluster = node.folder, node.cluster
    root = mount_root(Path(cluster.node_root), cluster.state / f"mnt{node.suffix}")
    _mount_sys(root)
    for same in (Path(cluster.cache), cluster.state):
        bind(same, root / same.relative_to("/"))
    # Pods can write neither bytecode to the engine nor anything else to the builds.
    run(["mount", "-o", "remount,bind,ro", root / Path(cluster.cache).relative_to("/")])
    _mount_disk(node, root / "var/lib/kubelet")
    bind(containerd_store(node), root / "var/lib/containerd")
    bind(folder / "pods", root / "var/log/pods")
    bind(folder / "cni.json", root / "etc/cni/net.d/10-tunecast.conflist")
    for setting in KERNEL_SETTINGS:
        bind(folder / "kernel" / setting.replace("/", "."), root / "proc/sys" / setting)
    (root / ENGINE_MOUNT.relative_to("/")).symlink_to(cluster.engine)
    pivot(root)
    run(["mount", "--make-rshared", "/"])


def _mount_disk(node: Node, place: Path) -> None:
    """Mount the disk for volumes. Tests can fill a disk of a given size without harm to the host."""
    if node.cluster.disk:
        place.mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", f"size={node.cluster.disk}", "disk", place])
    else:
        bind(node.folder / "kubelet", place)


def _mount_sys(root: Path) -> None:
    run(["mount", "-t", "sysfs", "sysfs", root / "sys"])
    run(["mount", "--rbind", "/sys/fs/cgroup", root / "sys/fs/cgroup"])


def components(cluster: Cluster) -> list[Component]:
    """Return the components of all nodes, and the one name server."""
    coredns = (f"{cluster.programs}/coredns", f"-conf={Node(cluster).folder}/Corefile")
    return [
        *(component for node in nodes(cluster) for component in _components(node)),
        Component("coredns", coredns, needs_api=True),
    ]


def _components(node: Node) -> list[Component]:
    folder, cluster, suffix = node.folder, node.cluster, node.suffix
    program = Path(cluster.programs)
    label = f"nvidia.com/gpu.product={GPU_PRODUCT}" if cluster.gpus else ""
    kubelet = flags(
        config=folder / "kubelet.json",
        kubeconfig=cluster.state / f"pki/kubelet{suffix}.kubeconfig",
        hostname_override=node.name,
        node_ip=node.address,
        node_labels=label,
    )
    proxy = flags(config=folder / "proxy.json", hostname_override=node.name)
    commands = {
        "containerd": ("containerd", f"--config={folder}/containerd.toml"),
        "kubelet": (f"{program}/kubelet", *kubelet),
        "kube-proxy": (f"{program}/kube-proxy", *proxy),
    }
    return [
        Component(name + suffix, command, needs_api=name != "containerd", in_node=node.number)
        for name, command in commands.items()
    ]


def _containerd(node: Node) -> str:
    """Return containerd's configuration. Without CAP_SYS_RESOURCE, runc can't lower an OOM score."""
    return f"""\
version = 2
[grpc]
  address = "{socket(node)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_TAG}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"""


def _kubelet(node: Node) -> dict[str, object]:
    pki = node.cluster.state / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/node.crt",
        "tlsPrivateKeyFile": f"{pki}/node.key",
        "containerRuntimeEndpoint": f"unix://{socket(node)}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": True,
        "volumeStatsAggPeriod": "10s",  # the delay until a pod over its disk limit is noticed
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "evictionPressureTransitionPeriod": "10s",  # the node accepts pods again soon after its disk is emptied
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "24h",
        "clusterDNS": [node.cluster.network.node],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "registerNode": True,
    }


def _proxy(cluster: Cluster) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": cluster.network.pods,
        "clientConnection": {"kubeconfig": f"{cluster.state}/pki/proxy.kubeconfig"},
        "conntrack": {"maxPerCore": 0},
        "oomScoreAdj": 0,
    }


def _cni(node: Node) -> dict[str, object]:
    addresses = {"type": "host-local", "subnet": node.pods, "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True}
    return {
        "cniVersion": "0.4.0",
        "name": "tunecast",
        "plugins": [
            {**bridge, "hairpinMode": True, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _corefile(cluster: Cluster) -> str:
    """Return CoreDNS's configuration. A longer negative cache would delay new headless names."""
    return f"""\
.:53 {{
    bind {cluster.network.node}
    errors
    ready {cluster.network.node}:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {cluster.kubeconfig}
        ttl 2
    }}
    cache 2
}}
"""
