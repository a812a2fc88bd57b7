"""A thin HTTP client of the engine, with the standard library alone."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunecast_core.engine.listen import Listen, is_loopback

HEALTH_SECONDS = 2.0
WORDS = 300  # characters of a refusal that are kept


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP status, the JSON object that came with it, if one did, and what it says of a refusal."""

    status: int
    body: dict[str, Any]
    text: str = ""

    @property
    def ok(self) -> bool:
        return self.status == http.HTTPStatus.OK

    @property
    def words(self) -> str:
        """The server's own message, on one line; engines put it in different places."""
        error = self.body.get("error", self.body.get("detail", self.body))
        message = error.get("message", "") if isinstance(error, dict) else error
        return " ".join(str(message or self.text).split())[:WORDS]

    @property
    def refusal(self) -> str:
        """The status with the message; of no answer at all, the error."""
        return f"{self.status}: {self.words or 'nothing'}" if self.status else self.words


@dataclass(frozen=True, slots=True)
class Client:
    """Calls the engine in this pod. Errors are OSError or http.client.HTTPException."""

    port: int
    listen: Listen = field(default_factory=Listen)
    api_key: str = ""
    timeout: float = 600.0  # seconds; a request may wait for a kernel to be built

    def healthy(self) -> bool:
        """Whether ``/health`` answers 200 within two seconds; never raises."""
        try:
            return self._call("GET", "/health", None, HEALTH_SECONDS).ok
        except (OSError, http.client.HTTPException):
            return False

    def listens(self) -> bool:
        """Whether something accepts connections where the engine does, or will."""
        try:
            self._connected(HEALTH_SECONDS).close()
        except (OSError, http.client.HTTPException) as error:
            return isinstance(error, ssl.SSLError)
        return True

    def get(self, path: str) -> Reply:
        return self._call("GET", path, None, self.timeout)

    def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Sends JSON; a body that holds bytes is sent as a form with a file."""
        return self._call("POST", path, body, self.timeout)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float) -> Reply:
        content_type, data = ("application/json", None) if body is None else _encoded(body)
        headers = {"Content-Type": content_type}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        connection = self._connected(timeout)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            content = response.read()
            return Reply(response.status, _object(content), content[: 4 * WORDS].decode(errors="replace"))
        finally:
            connection.close()

    def _connected(self, timeout: float) -> http.client.HTTPConnection:
        """To the first of the engine's addresses that accepts a connection."""
        *others, last = self.listen.addresses
        for address in others:
            try:
                return self._connect(address, timeout)
            except ssl.SSLError:
                raise
            except OSError:
                continue  # the engine may listen on the other family alone; the last error is raised
        return self._connect(last, timeout)

    def _connect(self, address: str, timeout: float) -> http.client.HTTPConnection:
        connection = (
            http.client.HTTPSConnection(address, self.port, timeout=timeout, context=_unverified())
            if self.listen.tls
            else http.client.HTTPConnection(address, self.port, timeout=timeout)
        )
        try:
            connection.connect()
            check_local(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _unverified() -> ssl.SSLContext:
    """The certificate names the Service, if anything; what we talk to is this very pod."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_local(connection: http.client.HTTPConnection) -> None:
    """A connection within one host has one of its addresses at both ends; no other host is ever sent an API key."""
    here, there = connection.sock.getsockname()[0], connection.sock.getpeername()[0]
    if here != there and not is_loopback(there):
        raise ConnectionError(f"the engine's --host is {there}, which is not an address of this pod: its own is {here}")


def _encoded(body: Mapping[str, Any]) -> tuple[str, bytes]:
    """A body's content type and bytes."""
    if not any(isinstance(value, bytes) for value in body.values()):
        return "application/json", json.dumps(body).encode()
    content = b"".join(value for value in body.values() if isinstance(value, bytes))
    boundary = hashlib.sha256(content).hexdigest()  # no recording holds its own digest
    parts = []
    for name, value in body.items():
        disposition = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, bytes):
            head, data = f'{disposition}; filename="{name}.wav"\r\nContent-Type: audio/wav', value
        else:
            head, data = disposition, str(value).encode()
        parts.append(b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), data))
    return f"multipart/form-data; boundary={boundary}", b"".join(parts) + b"--%s--\r\n" % boundary.encode()


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
