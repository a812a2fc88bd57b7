"""Requests of ranks to the engine: their address, format and errors."""

from __future__ import annotations

import socket
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest

from tunecast_core.engine.listen import Listen
from tunecast_tuner.engine.client import Client, Reply, check_local


class _Socket:
    def __init__(self, here: str, there: str) -> None:
        self._here, self._there = here, there

    def getsockname(self) -> tuple[str, int]:
        return (self._here, 1)

    def getpeername(self) -> tuple[str, int]:
        return (self._there, 2)


def connection(here: str, there: str) -> HTTPConnection:
    found = HTTPConnection("engine")
    found.sock = cast("socket.socket", _Socket(here, there))
    return found


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.2"),
        ("::1", "::1"),
        ("fd00::7",) * 2,
    ],
)
def test_addresses_of_this_pod_are_talked_to(here: str, there: str) -> None:
    check_local(connection(here, there))


@pytest.mark.parametrize(("here", "there"), [("10.0.0.7", "10.0.0.8"), ("fd00::7", "fd00::8")])
def test_no_other_host_is_sent_a_key(here: str, there: str) -> None:
    with pytest.raises(ConnectionError, match=f"the engine's --host is {there}, which is not an address of this pod"):
        check_local(connection(here, there))


class _Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen = (self.headers, data)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


def posted(body: dict[str, Any]) -> tuple[Any, bytes]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert Client(server.server_port, Listen(), "k").post("/x", body).ok
        server.shutdown()
        headers, data = server.seen  # type: ignore[attr-defined]
        return headers, data


def test_a_request_is_json_with_the_key() -> None:
    headers, data = posted({"prompt": [1]})
    assert (headers["Authorization"], headers["Content-Type"]) == ("Bearer k", "application/json")
    assert data == b'{"prompt": [1]}'


def test_a_recording_is_sent_as_a_file_of_a_form() -> None:
    headers, data = posted({"model": "m", "file": b"RIFF\x00"})
    boundary = headers["Content-Type"].partition("boundary=")[2].encode()
    parts = data.split(b"--" + boundary)
    assert parts[0] == b""
    assert parts[1] == b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
    assert b'name="file"; filename="file.wav"\r\nContent-Type: audio/wav\r\n\r\nRIFF\x00\r\n' in parts[2]
    assert parts[3] == b"--\r\n"


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        (Reply(401, {"error": "Unauthorized"}), "401: Unauthorized"),
        (Reply(400, {"error": {"message": "too\nlong", "code": 400}}), "400: too long"),
        (Reply(400, {"object": "error", "message": "old engines"}), "400: old engines"),
        (Reply(404, {"detail": "Not Found"}), "404: Not Found"),
        (Reply(422, {"detail": [{"msg": "missing"}]}), "422: [{'msg': 'missing'}]"),
        (Reply(502, {}, "<html>bad gateway</html>"), "502: <html>bad gateway</html>"),
        (Reply(500, {}), "500: nothing"),
        (Reply(0, {}, "TimeoutError: timed out"), "TimeoutError: timed out"),
    ],
)
def test_a_refusal_quotes_the_engine(reply: Reply, refusal: str) -> None:
    assert reply.refusal == refusal


def test_it_listens_on_either_family() -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert Client(port, Listen()).listens()
        assert not Client(port, Listen(host="127.0.0.1")).listens()
