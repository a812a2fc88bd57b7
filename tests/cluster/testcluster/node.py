"""The node: containerd, kubelet, kube-proxy and CoreDNS in a root file system of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from testcluster.cache import ClusterError
from testcluster.controlplane import Component, flags
from testcluster.jail import PACKAGE_ROOT, bind, mount_root, pivot
from testcluster.shell import Command, run
from testcluster.state import Cluster

NAMESPACE = 100  # the number of the supervisor's descriptor
PAUSE_TAG = "localhost/pause:1"
ENGINE_MOUNT = Path("/opt/vllm")
GPU_PRODUCT = "NVIDIA-H100-80GB-HBM3"
# kubelet writes these, which belong to the whole machine, unless they hold its values already.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def write_files(cluster: Cluster) -> None:
    folder = cluster.state / "node"
    for name in ("kubelet", "containerd", "pods", "kernel"):
        (folder / name).mkdir(parents=True)
    files = {"kubelet.json": _kubelet(cluster), "proxy.json": _proxy(cluster), "cni.json": _cni(cluster)}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1))
    (folder / "containerd.toml").write_text(_containerd(cluster))
    (folder / "Corefile").write_text(_corefile(cluster))
    for setting, value in KERNEL_SETTINGS.items():
        (folder / "kernel" / setting.replace("/", ".")).write_text(value + "\n")


def create(cluster: Cluster) -> None:
    """Make the node's mount namespace, which the supervisor's descriptor then keeps alive."""
    command = [sys.executable, str(PACKAGE_ROOT), "mount-node", str(cluster.state)]
    with (cluster.logs / "node.log").open("ab") as log:
        maker = subprocess.Popen(
            ["unshare", "--mount", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    with maker:
        if maker.stdout is None or not maker.stdout.readline():
            raise ClusterError(f"the node's root could not be mounted: see {cluster.logs}/node.log")
        found = os.open(f"/proc/{maker.pid}/ns/mnt", os.O_RDONLY)
        os.dup2(found, NAMESPACE, inheritable=False)
        os.close(found)


def hold(cluster: Cluster) -> None:
    """Mount the node's root, say so, and stay until the supervisor has hold of the namespace."""
    mount(cluster)
    print("mounted", flush=True)
    sys.stdin.read()


def socket(cluster: Cluster) -> Path:
    """In the state folder, which the host sees too."""
    return cluster.state / "node/containerd.sock"


def containerd_store(cluster: Cluster) -> Path:
    return cluster.state / "node/containerd"


def inside(command: Command) -> list[object]:
    """Run `command` in the node; to be called in the supervisor's own namespaces."""
    return ["nsenter", f"--mount=/proc/1/fd/{NAMESPACE}", "--", *command]


def mount(cluster: Cluster) -> None:
    """Build the node's root, in a mount namespace of its own."""
    folder = cluster.state / "node"
    root = mount_root(Path(cluster.node_root), cluster.state / "mnt")
    _mount_sys(root)
    for same in (Path(cluster.cache), cluster.state):
        bind(same, root / same.relative_to("/"))
    # Pods can't leave bytecode in the engine, nor anything else in the builds.
    run(["mount", "-o", "remount,bind,ro", root / Path(cluster.cache).relative_to("/")])
    _mount_disk(cluster, root / "var/lib/kubelet")
    bind(containerd_store(cluster), root / "var/lib/containerd")
    bind(folder / "pods", root / "var/log/pods")
    bind(folder / "cni.json", root / "etc/cni/net.d/10-tunecast.conflist")
    for setting in KERNEL_SETTINGS:
        bind(folder / "kernel" / setting.replace("/", "."), root / "proc/sys" / setting)
    (root / ENGINE_MOUNT.relative_to("/")).symlink_to(cluster.engine)
    pivot(root)
    run(["mount", "--make-rshared", "/"])


def _mount_disk(cluster: Cluster, place: Path) -> None:
    """Where volumes are. One of a given size can be filled without harm to anybody else."""
    if cluster.disk:
        place.mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", f"size={cluster.disk}", "disk", place])
    else:
        bind(cluster.state / "node/kubelet", place)


def _mount_sys(root: Path) -> None:
    run(["mount", "-t", "sysfs", "sysfs", root / "sys"])
    run(["mount", "--rbind", "/sys/fs/cgroup", root / "sys/fs/cgroup"])


def components(cluster: Cluster) -> list[Component]:
    folder = cluster.state / "node"
    program = Path(cluster.programs)
    label = f"nvidia.com/gpu.product={GPU_PRODUCT}" if cluster.gpus else ""
    kubelet = flags(
        config=folder / "kubelet.json",
        kubeconfig=cluster.state / "pki/kubelet.kubeconfig",
        hostname_override=cluster.name,
        node_ip=cluster.network.node,
        node_labels=label,
    )
    proxy = flags(config=folder / "proxy.json", hostname_override=cluster.name)
    coredns = (f"{program}/coredns", f"-conf={folder}/Corefile")
    containerd = ("containerd", f"--config={folder}/containerd.toml")
    return [
        Component("containerd", containerd, in_node=True),
        Component("kubelet", (f"{program}/kubelet", *kubelet), needs_api=True, in_node=True),
        Component("kube-proxy", (f"{program}/kube-proxy", *proxy), needs_api=True, in_node=True),
        Component("coredns", coredns, needs_api=True),
    ]


def _containerd(cluster: Cluster) -> str:
    """Where root lacks CAP_SYS_RESOURCE, runc can't lower an OOM score."""
    return f"""\
version = 2
[grpc]
  address = "{socket(cluster)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_TAG}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"""


def _kubelet(cluster: Cluster) -> dict[str, object]:
    pki = cluster.state / "pki"
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
        "containerRuntimeEndpoint": f"unix://{socket(cluster)}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cluster.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": True,
        "volumeStatsAggPeriod": "10s",  # how soon a pod that writes more than its limit is seen
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "evictionPressureTransitionPeriod": "10s",  # a disk that is emptied takes pods again
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "24h",
        "clusterDNS": [cluster.network.node],
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


def _cni(cluster: Cluster) -> dict[str, object]:
    addresses = {"type": "host-local", "subnet": cluster.network.pods, "routes": [{"dst": "0.0.0.0/0"}]}
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
    """A longer negative cache would make a fresh headless name slow to appear."""
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
