"""The files and command lines of etcd, the API server, the controllers and S3."""

import json
from dataclasses import dataclass
from pathlib import Path

from testcluster.state import API_PORT, S3_PORT, S3_REGION, S3_TLS_PORT, Cluster


@dataclass(frozen=True)
class Component:
    """One process of the cluster."""

    name: str
    command: tuple[str, ...]
    needs_api: bool = False
    in_node: int = 0  # number of the node that it runs in; 0 for none
    environment: tuple[tuple[str, str], ...] = ()


def flags(**values: object) -> tuple[str, ...]:
    return tuple(f"--{name.replace('_', '-')}={value}" for name, value in values.items())


def write_files(cluster: Cluster) -> None:
    writes = {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]}
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [writes, {"level": "None"}],
    }
    (cluster.state / "audit-policy.json").write_text(json.dumps(policy))
    for folder in ("s3/data", "s3/sidecar", "s3/iam"):
        (cluster.state / folder).mkdir(parents=True)


def components(cluster: Cluster) -> list[Component]:
    program = Path(cluster.programs)
    pki = cluster.state / "pki"
    etcd = flags(data_dir=cluster.state / "etcd", unsafe_no_fsync="true", log_level="warn")
    controllers = flags(
        kubeconfig=pki / "controller-manager.kubeconfig",
        leader_elect="false",
        use_service_account_credentials="true",
        service_account_private_key_file=pki / "node.key",
        root_ca_file=pki / "ca.crt",
        cluster_signing_cert_file=pki / "ca.crt",
        cluster_signing_key_file=pki / "ca.key",
    )
    scheduler = flags(kubeconfig=pki / "scheduler.kubeconfig", leader_elect="false")
    return [
        Component("etcd", (str(program / "server"), *etcd)),
        Component("kube-apiserver", (str(program / "kube-apiserver"), *_apiserver(cluster))),
        *_s3(cluster),
        Component(
            "kube-controller-manager",
            (str(program / "kube-controller-manager"), *controllers),
            needs_api=True,
        ),
        Component("kube-scheduler", (str(program / "kube-scheduler"), *scheduler), needs_api=True),
    ]


def _apiserver(cluster: Cluster) -> tuple[str, ...]:
    pki = cluster.state / "pki"
    return flags(
        etcd_servers="http://127.0.0.1:2379",
        advertise_address=cluster.network.node,
        secure_port=API_PORT,
        service_cluster_ip_range=cluster.network.services,
        allow_privileged="true",
        authorization_mode="Node,RBAC",
        feature_gates="MutatingAdmissionPolicy=true",
        runtime_config="admissionregistration.k8s.io/v1beta1=true",
        client_ca_file=pki / "ca.crt",
        token_auth_file=pki / "tokens.csv",
        tls_cert_file=pki / "node.crt",
        tls_private_key_file=pki / "node.key",
        kubelet_certificate_authority=pki / "ca.crt",
        kubelet_client_certificate=pki / "node.crt",
        kubelet_client_key=pki / "node.key",
        kubelet_preferred_address_types="InternalIP",
        service_account_issuer="https://kubernetes.default.svc.cluster.local",
        service_account_key_file=pki / "node.crt",
        service_account_signing_key_file=pki / "node.key",
        audit_policy_file=cluster.state / "audit-policy.json",
        audit_log_path=cluster.audit_log,
        audit_log_mode="blocking",
    )


def _s3(cluster: Cluster) -> list[Component]:
    """Return two servers on the same files: one with plain HTTP, one with TLS."""
    folder, pki = cluster.state / "s3", cluster.state / "pki"
    root = json.loads((folder / "keys.json").read_text())["owner"]
    common = (f"--region={S3_REGION}", f"--iam-dir={folder}/iam", "--quiet")
    tls = (f"--cert={pki}/node.crt", f"--key={pki}/node.key")
    store = ("posix", "--sidecar", f"{folder}/sidecar", f"{folder}/data")
    secret = (("ROOT_ACCESS_KEY", root["access"]), ("ROOT_SECRET_KEY", root["secret"]))
    program = str(Path(cluster.programs) / "versitygw")
    ports = {"versitygw": (S3_PORT, ()), "versitygw-tls": (S3_TLS_PORT, tls)}
    return [
        Component(name, (program, f"--port={cluster.network.node}:{port}", *common, *more, *store), environment=secret)
        for name, (port, more) in ports.items()
    ]
