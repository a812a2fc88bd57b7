"""The address where an engine serves, and whether the kubelet's probes and clients in its pod can reach it. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from tunecast_core.engine.command_line import CommandLine

EVERYWHERE = frozenset({"", "0", "0.0.0.0", "::"})  # noqa: S104 - what engines are given, not what we bind
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


@dataclass(frozen=True, slots=True)
class Listen:
    """Settings of an engine's HTTP server, except its port."""

    host: str = ""  # value of --host; empty for all addresses
    socket: str = ""  # path of a Unix domain socket that replaces host and port
    tls: bool = False
    client_certificate: bool = False  # whether the engine refuses clients without a certificate
    http: bool = True  # whether the engine serves HTTP at all

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses that a client in the same pod tries in this order."""
        if self.host not in EVERYWHERE:
            return (self.host,)
        loopbacks = ("127.0.0.1", "::1")
        return loopbacks[::-1] if self.host == "::" else loopbacks

    def refusal(self) -> str:
        """Returns why probes of the kubelet and a Service can't reach the engine, and what to do; empty if they can."""
        if not self.http:
            return "the engine serves no HTTP, so nothing can ask for its health: leave out --grpc and --headless"
        if self.socket:
            return f"the engine listens on the Unix socket {self.socket}, where no probe reaches it: leave out --uds"
        if is_loopback(self.host):
            return (
                f"the engine listens only on {self.host}, where neither probes nor clients reach it:"
                " leave out --host, or set it to 0.0.0.0, :: or the pod's own address"
            )
        if self.tls and self.client_certificate:
            return (
                "the engine demands a client certificate (--ssl-cert-reqs=2), and a kubelet's probes have none:"
                " leave out --ssl-cert-reqs, and let a proxy or a mesh check clients"
            )
        return ""


def listen(line: CommandLine) -> Listen:
    """Returns the settings of the HTTP server of a command line."""
    return Listen(
        host=line.host or "",
        socket=line.socket or "",
        tls=line.scheme == "https",
        client_certificate=line.client_certificates,
        http=not line.switch("--grpc") and not line.switch("--headless"),
    )


def is_loopback(host: str) -> bool:
    """Whether an address or a name is a loopback one, including short forms such as ``127.1``."""
    if host.lower() in _LOCAL_NAMES or re.fullmatch(r"127(\.\d+){1,3}", host):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
