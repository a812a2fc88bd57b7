"""Writes one certificate authority, one certificate, and a token for each user."""

import json
import secrets
from pathlib import Path

from testcluster.shell import run
from testcluster.state import S3_TLS_NAME, Cluster, nodes

# kubectl's user, then the users of Kubernetes' components: name -> (user, group)
USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}
NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def write(cluster: Cluster) -> None:
    folder = cluster.state / "pki"
    folder.mkdir()
    _write_certificates(cluster, folder)
    kubelets = {f"kubelet{node.suffix}": (f"system:node:{node.name}", "system:nodes") for node in nodes(cluster)}
    users = {**USERS, **kubelets}
    lines = []
    for name, (user, group) in users.items():
        token = secrets.token_hex(16)
        lines.append(f'{token},{user},{user},"{group}"')
        path = cluster.kubeconfig if name == "admin" else folder / f"{name}.kubeconfig"
        _write_kubeconfig(cluster, path, name, token)
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n")


def _write_certificates(cluster: Cluster, folder: Path) -> None:
    authority = ["-subj", "/CN=tunecast test authority", "-days", "3650"]
    files = ["-keyout", folder / "ca.key", "-out", folder / "ca.crt"]
    run(["openssl", "req", "-x509", *NEW_KEY, *authority, *files])
    request = ["-subj", "/O=system:masters/CN=tunecast", "-keyout", folder / "node.key"]
    run(["openssl", "req", "-new", *NEW_KEY, *request, "-out", folder / "node.csr"])
    names = ["localhost", *(node.name for node in nodes(cluster)), "kubernetes", "kubernetes.default"]
    names += ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local", S3_TLS_NAME]
    addresses = ["127.0.0.1", cluster.network.node, cluster.network.kubernetes_service]
    addresses += [node.address for node in nodes(cluster)[1:]]
    alternatives = [f"DNS:{n}" for n in names] + [f"IP:{a}" for a in addresses]
    extensions = f"subjectAltName={','.join(alternatives)}\nextendedKeyUsage=serverAuth,clientAuth\n"
    (folder / "node.ext").write_text(extensions)
    signer = ["-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial"]
    made = ["-in", folder / "node.csr", "-out", folder / "node.crt"]
    run(["openssl", "x509", "-req", *made, *signer, "-days", "3650", "-extfile", folder / "node.ext"])


def _write_kubeconfig(cluster: Cluster, path: Path, user: str, token: str) -> None:
    authority = str(cluster.state / "pki/ca.crt")
    entry = {"server": cluster.server, "certificate-authority": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster.name, "cluster": entry}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": cluster.name, "context": {"cluster": cluster.name, "user": user}}],
        "current-context": cluster.name,
    }
    path.write_text(json.dumps(config, indent=1))
    path.chmod(0o600)
