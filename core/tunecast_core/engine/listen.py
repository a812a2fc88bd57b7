"""Where an engine serves, and whether the kubelet's probes and a client in its pod reach it there. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from tunecast_core.engine.command_line import CommandLine

EVERYWHERE = frozenset({"", "0", "0.0.0.0", "::"})  # noqa: S104 - what engines are given, not what we bind
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


@dataclass(frozen=True, slots=True)
class Listen:
    """What an engine's command line says of its HTTP server, apart from its port."""

    host: str = ""  # as it is given; empty: everywhere
    socket: str = ""  # a Unix domain socket's path, in place of host and port
    tls: bool = False
    client_certificate: bool = False  # it refuses clients without one
    http: bool = True  # whether it serves HTTP at all

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where a client in the same pod tries to connect, one after the other."""
        if self.host not in EVERYWHERE:
            return (self.host,)
        loopbacks = ("127.0.0.1", "::1")
        return loopbacks[::-1] if self.host == "::" else loopbacks

    def refusal(self) -> str:
        """Why neither the kubelet's probes nor a Service reach it, and what to do; empty where they do."""
        if not self.http:
            return "the engine serves no HTTP, so nothing can ask for its health: leave out --grpc and --headless"
        if self.socket:
            return f"the engine listens on the Unix socket {self.socket}, where no probe reaches it: leave out --uds"
        if is_loopback(self.host):
            return (
                f"the engine listens on {self.host} alone, where neither probes nor clients reach it:"
                " leave out --host, or set it to 0.0.0.0, :: or the pod's own address"
            )
        if self.tls and self.client_certificate:
            return (
                "the engine demands a client certificate (--ssl-cert-reqs=2), and a kubelet's probes have none:"
                " leave out --ssl-cert-reqs, and let a proxy or a mesh check clients"
            )
        return ""


def listen(line: CommandLine) -> Listen:
    """Where and how the engine of a command line serves."""
    return Listen(
        host=line.host or "",
        socket=line.socket or "",
        tls=line.scheme == "https",
        client_certificate=line.client_certificates,
        http=not line.switch("--grpc") and not line.switch("--headless"),
    )


def is_loopback(host: str) -> bool:
    """Whether only the pod itself reaches this address or name; ``127.1`` is one too."""
    if host.lower() in _LOCAL_NAMES or re.fullmatch(r"127(\.\d+){1,3}", host):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
