"""A proxy in front of a real S3 server that injects faults: ``choose`` decides the fault of each request."""

from __future__ import annotations

import http.client
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from support.background import running

PIECE = 4096  # bytes
ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>a fault of the test's</Message></Error>"


class Fault(Enum):
    """The fault that one request meets."""

    REFUSE = "the connection is closed at once"
    STALL = "no answer comes"
    SLOW = "the answer comes at 100 kB/s"
    TRUNCATE = "half of the answer comes"
    CORRUPT = "one byte of the answer is another"
    ERROR_500 = "InternalError"
    ERROR_503 = "SlowDown"
    ERROR_403 = "AccessDenied"
    SKEWED = "RequestTimeTooSkewed"
    REDIRECT = "TemporaryRedirect"
    LOST = "the request takes effect, and its answer is lost"


CODES = {Fault.ERROR_500: 500, Fault.ERROR_503: 503, Fault.ERROR_403: 403, Fault.SKEWED: 403, Fault.REDIRECT: 307}
Choose = Callable[[str, str], Fault | None]  # arguments: method and path
SLOW_BYTES_PER_SECOND = 100_000


@dataclass
class FaultyS3:
    """A running proxy. A test may change ``choose`` at any time; ``seen`` counts requests by method."""

    endpoint: str
    choose: Choose
    seen: Counter[str]
    times: list[float]  # time.monotonic of every request's arrival
    stall_seconds: float = 8.0  # longer than any client waits for an answer


def healthy(_method: str, _path: str) -> None:
    return None


@contextmanager
def faulty(upstream: str, choose: Choose = healthy, address: str = "127.0.0.1") -> Iterator[FaultyS3]:
    """Runs a proxy in front of ``upstream``, which stays reachable directly; the proxy listens at ``address``."""
    server = _Server((address, 0), _Handler)
    server.upstream = urlsplit(upstream).netloc
    server.found = FaultyS3(f"http://{address}:{server.server_port}", choose, Counter(), [])
    with running(server):
        yield server.found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512
    upstream: str
    found: FaultyS3

    def handle_error(self, *_: Any) -> None:
        """Ignores clients that disconnect early, which the faults cause."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        self.server.found.seen[self.command] += 1
        self.server.found.times.append(time.monotonic())
        fault = self.server.found.choose(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is Fault.REFUSE:
            return self._hang_up()
        if fault is Fault.STALL:
            time.sleep(self.server.found.stall_seconds)
            return self._hang_up()
        if fault in CODES:
            return self._answer(CODES[fault], {}, ERROR.format(code=fault.value).encode())
        status, headers, answer = self._ask(body)
        if fault is Fault.LOST:
            return self._hang_up()
        if fault is Fault.CORRUPT and answer and "list-type" not in self.path:  # no digest protects a list
            middle = len(answer) // 2
            answer = answer[:middle] + bytes([answer[middle] ^ 1]) + answer[middle + 1 :]
        return self._answer(status, headers, answer, fault)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve  # noqa: N815 - as the standard library wants it

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # with the client's Host, which the signature covers
                if name.lower() not in {"connection", "expect"}:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None = None) -> None:
        self.send_response_only(status)
        kept = {n: v for n, v in headers.items() if n.lower() not in {"transfer-encoding", "connection"}}
        if self.command != "HEAD":
            kept = {n: v for n, v in kept.items() if n.lower() != "content-length"} | {"Content-Length": str(len(body))}
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault is Fault.TRUNCATE and body:
            self.wfile.write(body[: len(body) // 2])
            self._hang_up()
        elif fault is Fault.SLOW:
            self._trickle(body)
        else:
            self.wfile.write(body)

    def _trickle(self, body: bytes) -> None:
        for start in range(0, len(body), PIECE):
            piece = body[start : start + PIECE]
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(len(piece) / SLOW_BYTES_PER_SECOND)

    def _hang_up(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the client has disconnected already

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""
