"""The node: containerd, kubelet, kube-proxy and CoreDNS in a root file system of their own."""

import json
from pathlib import Path

from testcluster.controlplane import Component, flags
from testcluster.images import PAUSE_TAG
from testcluster.jail import bind, mount_root
from testcluster.shell import run
from testcluster.state import Cluster

ENGINE_MOUNT = Path("/opt/vllm")
GPU_PRODUCT = "NVIDIA-H100-80GB-HBM3"
CONTAINERD = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_TAG}"
  # runc can't lower the score where root lacks CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"""
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
    (folder / "containerd.toml").write_text(CONTAINERD)
    (folder / "Corefile").write_text(_corefile(cluster))
    for setting, value in KERNEL_SETTINGS.items():
        (folder / "kernel" / setting.replace("/", ".")).write_text(value + "\n")


def mount(cluster: Cluster) -> Path:
    """Build the node's root; to be called in the cluster's own mount namespace."""
    folder = cluster.state / "node"
    root = mount_root(Path(cluster.node_root), cluster.state / "mnt")
    _mount_sys(root)
    for setting in KERNEL_SETTINGS:
        bind(folder / "kernel" / setting.replace("/", "."), root / "proc/sys" / setting)
    for same in (Path(cluster.cache), cluster.state):
        bind(same, root / same.relative_to("/"))
    # Pods can't leave bytecode in the engine, nor anything else in the builds.
    run(["mount", "-o", "remount,bind,ro", root / Path(cluster.cache).relative_to("/")])
    bind(folder / "kubelet", root / "var/lib/kubelet")
    bind(folder / "containerd", root / "var/lib/containerd")
    bind(folder / "pods", root / "var/log/pods")
    bind(folder / "cni.json", root / "etc/cni/net.d/10-tunecast.conflist")
    (root / ENGINE_MOUNT.relative_to("/")).symlink_to(cluster.engine)
    run(["mount", "--make-rshared", root])
    return root


def _mount_sys(root: Path) -> None:
    run(["mount", "-t", "sysfs", "sysfs", root / "sys"])
    run(["mount", "--rbind", "/sys/fs/cgroup", root / "sys/fs/cgroup"])


def components(cluster: Cluster) -> list[Component]:
    folder = cluster.state / "node"
    program = Path(cluster.kubernetes)
    label = f"nvidia.com/gpu.product={GPU_PRODUCT}" if cluster.gpus else ""
    kubelet = flags(
        config=folder / "kubelet.json",
        kubeconfig=cluster.state / "pki/kubelet.kubeconfig",
        hostname_override=cluster.name,
        node_ip=cluster.network.node,
        node_labels=label,
    )
    proxy = flags(config=folder / "proxy.json", hostname_override=cluster.name)
    coredns = (str(Path(cluster.coredns) / "coredns"), f"-conf={folder}/Corefile")
    containerd = ("containerd", f"--config={folder}/containerd.toml")
    return [
        Component("containerd", containerd, in_node=True),
        Component("kubelet", (f"{program}/kubelet", *kubelet), needs_api=True, in_node=True),
        Component("kube-proxy", (f"{program}/kube-proxy", *proxy), needs_api=True, in_node=True),
        Component("coredns", coredns, needs_api=True),
    ]


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
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cluster.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
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
