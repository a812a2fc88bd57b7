"""An S3 server in memory that checks no signatures and lacks the features that a test chooses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from support.background import Server, running

ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>of the test</Message></Error>"
COPIED = "<?xml version='1.0'?><CopyObjectResult><ETag>{tag}</ETag></CopyObjectResult>"


@dataclass
class PlainS3:
    """A running server.

    Attributes:
        endpoint: URL of the server.
        ignored: headers, in lower case, that the server ignores.
        refused: status and error code of the response to a request with such a header.
        objects: stored objects by path.
    """

    endpoint: str
    ignored: set[str] = field(default_factory=set)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def serving() -> Iterator[PlainS3]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.found = PlainS3(f"http://127.0.0.1:{server.server_port}")
    with running(server):
        yield server.found


class _Server(Server):
    found: PlainS3


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = self.server.found
        for header, (status, code) in found.refused.items():
            if header in self.headers:
                return self._answer(status, ERROR.format(code=code).encode())
        path = urlsplit(self.path).path
        answer: Callable[[str, bytes], None] = getattr(self, f"_{self.command.lower()}")
        return answer(path, body)

    do_GET = do_PUT = do_HEAD = do_DELETE = _serve  # noqa: N815 - as the standard library wants it

    def _put(self, path: str, body: bytes) -> None:
        objects = self.server.found.objects
        if self._asked("if-none-match") and path in objects:
            return self._answer(412, ERROR.format(code="PreconditionFailed").encode())
        source = self.headers.get("x-amz-copy-source")
        if source is None:
            objects[path] = body
            return self._answer(200, b"", ETag=tag(body))
        copied = objects["/" + unquote(source).lstrip("/")]
        if self._asked("x-amz-copy-source-if-match") not in {None, tag(copied)}:
            return self._answer(412, ERROR.format(code="PreconditionFailed").encode())
        objects[path] = copied
        return self._answer(200, COPIED.format(tag=tag(copied)).encode())

    def _get(self, path: str, _body: bytes) -> None:
        data = self.server.found.objects.get(path)
        if data is None:
            return self._answer(404, ERROR.format(code="NoSuchKey").encode())
        if wanted := self._asked("range"):
            first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
            span = f"bytes {first}-{last}/{len(data)}"
            return self._answer(206, data[first : last + 1], **{"Content-Range": span, "ETag": tag(data)})
        return self._answer(200, data, ETag=tag(data))

    def _head(self, path: str, _body: bytes) -> None:
        data = self.server.found.objects.get(path)
        self._answer(404, b"") if data is None else self._answer(200, data, ETag=tag(data))

    def _delete(self, path: str, _body: bytes) -> None:
        self.server.found.objects.pop(path, None)
        self._answer(204, b"")

    def _asked(self, header: str) -> str | None:
        return None if header in self.server.found.ignored else self.headers.get(header)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'
