"""An S3 server as in a company network: a private authority signs its TLS certificate, and only a proxy reaches it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from e2e.world import World
from harness import deploy
from harness.kubectl import Kubectl, Object

NAMESPACE, PORT = "proxy", 3128
PROXY = f"http://proxy.{NAMESPACE}.svc:{PORT}"
LABELS = {"app": "proxy"}
SOURCES = [deploy.ROOT / "tests" / "support" / f"{module}.py" for module in ("proxy", "background")]


def begin_proxy(world: World) -> None:
    """Deploys the proxy, which alone can resolve the store's name."""
    world.kubectl.apply(deploy.namespace(NAMESPACE))
    world.kubectl.apply(_sources(), _deployment(world.environment), _service())
    world.kubectl("rollout", "status", "deployment/proxy", "-n", NAMESPACE, "--timeout=60s")


def store(environment: dict[str, str]) -> Object:
    """Returns the chart values for this store."""
    return {
        **deploy.values(environment)["s3"],
        "endpoint": environment["TUNECAST_S3_TLS_ENDPOINT"],
        "caCertificates": Path(environment["TUNECAST_S3_TLS_AUTHORITY"]).read_text(),
        "proxy": PROXY,
    }


def tunnelled(kubectl: Kubectl) -> dict[str, set[str]]:
    """Returns the requests to the proxy by client address."""
    found: dict[str, set[str]] = {}
    for line in kubectl("logs", "deployment/proxy", "-n", NAMESPACE).splitlines():
        client, method, target = line.split()
        found.setdefault(client, set()).add(f"{method} {target}")
    return found


def _sources() -> Object:
    metadata = {"name": "proxy", "namespace": NAMESPACE}
    data = {source.name: source.read_text() for source in SOURCES}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _deployment(environment: dict[str, str]) -> Object:
    name, address = urlsplit(environment["TUNECAST_S3_TLS_ENDPOINT"]).hostname, environment["TUNECAST_S3_TLS_ADDRESS"]
    container = {
        "name": "proxy",
        "image": "localhost/python:3",
        "command": ["python3", "-m", "support.proxy", str(PORT), f"{name}={address}"],
        "env": [{"name": "PYTHONPATH", "value": "/proxy"}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "proxy", "mountPath": "/proxy/support"}],
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
