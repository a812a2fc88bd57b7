"""The S3 server as companies have it: TLS by an authority of their own, and no way to it but through a proxy."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from e2e.world import World
from harness import deploy
from harness.kubectl import Kubectl, Object

NAMESPACE, PORT = "proxy", 3128
PROXY = f"http://proxy.{NAMESPACE}.svc:{PORT}"
LABELS = {"app": "proxy"}
SCRIPT = deploy.ROOT / "tests" / "support" / "proxy.py"


def begin_proxy(world: World) -> None:
    """It alone can resolve the store's name."""
    world.kubectl.apply(deploy.namespace(NAMESPACE))
    world.kubectl.apply(_script(), _deployment(world.environment), _service())
    world.kubectl("rollout", "status", "deployment/proxy", "-n", NAMESPACE, "--timeout=60s")


def store(environment: dict[str, str]) -> Object:
    """Chart values for it."""
    return {
        **deploy.values(environment)["s3"],
        "endpoint": environment["TUNECAST_S3_TLS_ENDPOINT"],
        "caCertificates": Path(environment["TUNECAST_S3_TLS_AUTHORITY"]).read_text(),
        "proxy": PROXY,
    }


def tunnelled(kubectl: Kubectl) -> dict[str, set[str]]:
    """What each client's address asked the proxy for."""
    found: dict[str, set[str]] = {}
    for line in kubectl("logs", "deployment/proxy", "-n", NAMESPACE).splitlines():
        client, method, target = line.split()
        found.setdefault(client, set()).add(f"{method} {target}")
    return found


def _script() -> Object:
    metadata = {"name": "proxy", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {SCRIPT.name: SCRIPT.read_text()}}


def _deployment(environment: dict[str, str]) -> Object:
    name, address = urlsplit(environment["TUNECAST_S3_TLS_ENDPOINT"]).hostname, environment["TUNECAST_S3_TLS_ADDRESS"]
    container = {
        "name": "proxy",
        "image": "localhost/python:3",
        "command": ["python3", f"/proxy/{SCRIPT.name}", str(PORT), f"{name}={address}"],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "proxy", "mountPath": "/proxy"}],
    }
    pod = {"containers": [container], "volumes": [{"name": "proxy", "configMap": {"name": "proxy"}}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "proxy", "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": LABELS}, "template": {"metadata": {"labels": LABELS}, "spec": pod}},
    }


def _service() -> Object:
    metadata = {"name": "proxy", "namespace": NAMESPACE}
    spec = {"selector": LABELS, "ports": [{"port": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
