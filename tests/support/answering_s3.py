"""A server that answers every PUT with a chosen response without reading the body, as S3 does when it refuses one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.background import Server, running


@dataclass
class AnsweringS3:
    """A running server. A test may change the response at any time."""

    endpoint: str
    status: int = 200
    code: str = ""
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    page: bytes | None = None  # the body, if not an S3 error in XML
    paths: list[str] = field(default_factory=list)  # paths of all requests, with their queries

    @property
    def body(self) -> bytes:
        error = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>"
        return error.encode() if self.page is None else self.page


@contextmanager
def answering() -> Iterator[AnsweringS3]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.found = AnsweringS3(f"http://127.0.0.1:{server.server_port}")
    with running(server):
        yield server.found


class _Server(Server):
    found: AnsweringS3


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_PUT(self) -> None:
        found = self.server.found
        found.paths.append(self.path)
        self.send_response(found.status)
        for name, value in {**found.headers, "Content-Length": str(len(found.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(found.body)

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""
