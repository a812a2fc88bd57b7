"""Service meshes: how to detect the proxy of one in a pod, and how init containers can bypass the proxy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Mesh:
    name: str
    mark: str  # annotation that the injector sets on every pod that it changes
    exclusion: str  # annotation that excludes outbound ports from the proxy

    @property
    def variable(self) -> str:
        """The environment variable of an init container that holds the value of ``mark``."""
        return f"TUNECAST_MESH_{self.name.upper()}"


MESHES = (
    Mesh("Istio", "sidecar.istio.io/status", "traffic.sidecar.istio.io/excludeOutboundPorts"),
    Mesh("Linkerd", "linkerd.io/proxy-version", "config.linkerd.io/skip-outbound-ports"),
    Mesh(
        "Consul",
        "consul.hashicorp.com/connect-inject-status",
        "consul.hashicorp.com/transparent-proxy-exclude-outbound-ports",
    ),
    Mesh("Kuma", "kuma.io/sidecar-injected", "traffic.kuma.io/exclude-outbound-ports"),
)


def mesh_of(environment: Mapping[str, str]) -> Mesh | None:
    """Returns the mesh whose proxy is in this pod, according to the variables of the pod template."""
    return next((mesh for mesh in MESHES if environment.get(mesh.variable)), None)


def advice(mesh: Mesh, endpoint: str | None) -> str:
    """Returns advice for an init container that can't reach ``endpoint``. None is the endpoint of AWS."""
    url = urlsplit(endpoint or "https://")
    port = url.port or (80 if url.scheme == "http" else 443)
    return (
        f"this pod is in a mesh of {mesh.name}, and its CNI plugin sends all connections to a proxy that starts only "
        f"after the init containers, unless it is a native sidecar: have {mesh.name} inject native sidecars, or set "
        f'{mesh.exclusion}: "{port}" in spec.template.metadata.annotations'
    )
