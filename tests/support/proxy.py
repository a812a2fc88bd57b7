"""An HTTP proxy that supports CONNECT only and resolves host names that no name server knows."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from support.background import Server, running


@dataclass
class ConnectProxy:
    """A running proxy. ``seen`` holds the host and port of each CONNECT; with ``refuses`` the proxy answers 403."""

    url: str
    hosts: dict[str, str]
    seen: list[str] = field(default_factory=list)
    refuses: bool = False


@contextmanager
def proxying(**hosts: str) -> Iterator[ConnectProxy]:
    """Runs a proxy on loopback that connects a name of ``hosts`` to its address."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.found = ConnectProxy(f"http://127.0.0.1:{server.server_port}", hosts)
    with running(server):
        yield server.found


class _Server(Server):
    found: ConnectProxy


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_CONNECT(self) -> None:
        proxy = self.server.found
        proxy.seen.append(self.path)
        host, _, port = self.path.rpartition(":")
        if proxy.refuses or host not in proxy.hosts:
            self.send_error(403)
            return
        with socket.create_connection((proxy.hosts[host], int(port)), timeout=10) as upstream:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            _relay(self.connection, upstream)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


class _Printing(_Handler):
    """Prints the client and the target of each request."""

    def log_request(self, *_: object) -> None:
        print(self.client_address[0], self.command, self.path, flush=True)


def main(port: str, *hosts: str) -> None:
    """Serves on all addresses until it is killed. ``hosts`` are NAME=ADDRESS."""
    with _Server(("", int(port)), _Printing) as server:
        server.found = ConnectProxy("", dict(host.split("=", 1) for host in hosts))
        server.serve_forever()


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Copies data both ways until either side closes."""
    while True:
        for source in select.select([one, other], [], [])[0]:
            data = source.recv(2**16)
            if not data:
                return
            (other if source is one else one).sendall(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
