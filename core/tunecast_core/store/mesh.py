"""Service meshes: what an injector leaves on a pod, and how its init containers get past the proxy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Mesh:
    name: str
    mark: str  # the annotation that its injector leaves on every pod that it changed
    exclusion: str  # the annotation that keeps outbound ports away from its proxy

    @property
    def variable(self) -> str:
        """The environment variable of an init container that has the value of ``mark``."""
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
    """The mesh that has its proxy in this pod, as the pod template's variables say."""
    return next((mesh for mesh in MESHES if environment.get(mesh.variable)), None)


def advice(mesh: Mesh, endpoint: str | None) -> str:
    """What to do where an init container can't reach ``endpoint``; None is AWS's own."""
    url = urlsplit(endpoint or "https://")
    port = url.port or (80 if url.scheme == "http" else 443)
    return (
        f"this pod is in a mesh of {mesh.name}, and its CNI plugin sends all connections to a proxy that starts only "
        f"after the init containers, unless it is a native sidecar: have {mesh.name} inject native sidecars, or set "
        f'{mesh.exclusion}: "{port}" in spec.template.metadata.annotations'
    )
