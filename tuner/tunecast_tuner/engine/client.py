"""A small HTTP client of the engine, which needs only the standard library."""

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
MESSAGE_CHARACTERS = 300  # characters of an error message that are kept


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response: its status, its JSON object or an empty one, and the beginning of its text."""

    status: int  # 0 without a response
    body: dict[str, Any]
    text: str = ""

    @property
    def ok(self) -> bool:
        return self.status == http.HTTPStatus.OK

    @property
    def message(self) -> str:
        """The error message on one line. Engines use different fields for it."""
        error = self.body.get("error", self.body.get("detail", self.body))
        message = error.get("message", "") if isinstance(error, dict) else error
        return " ".join(str(message or self.text).split())[:MESSAGE_CHARACTERS]

    @property
    def refusal(self) -> str:
        """The status with the error message, or only the error if there was no response."""
        return f"{self.status}: {self.message or 'nothing'}" if self.status else self.message


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests to the engine in this pod. They raise OSError or http.client.HTTPException."""

    port: int
    listen: Listen = field(default_factory=Listen)
    api_key: str = ""
    timeout: float = 600.0  # seconds; a request may wait for a kernel to be built

    def healthy(self) -> bool:
        """Whether ``/health`` answers 200 within two seconds. Never raises."""
        try:
            return self._call("GET", "/health", None, HEALTH_SECONDS).ok
        except (OSError, http.client.HTTPException):
            return False

    def listens(self) -> bool:
        """Whether any process accepts connections at the engine's address."""
        try:
            self._connected(HEALTH_SECONDS).close()
        except (OSError, http.client.HTTPException) as error:
            return isinstance(error, ssl.SSLError)
        return True

    def get(self, path: str) -> Reply:
        return self._call("GET", path, None, self.timeout)

    def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Sends JSON, or a multipart form if the body holds bytes."""
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
            text = content[: 4 * MESSAGE_CHARACTERS].decode(errors="replace")
            return Reply(response.status, _object(content), text)
        finally:
            connection.close()

    def _connected(self, timeout: float) -> http.client.HTTPConnection:
        """Connects to the first of the engine's addresses that accepts a connection."""
        *others, last = self.listen.addresses
        for address in others:
            try:
                return self._connect(address, timeout)
            except ssl.SSLError:
                raise
            except OSError:
                continue  # the engine may listen only on the other address family; the last error is raised
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
    """Returns a TLS context without verification: certificates name the Service, but requests go to this pod."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_local(connection: http.client.HTTPConnection) -> None:
    """Raises ConnectionError unless the peer is this pod, so that the API key is never sent to another host.

    A connection within a host has the same address at both ends.
    """
    here, there = connection.sock.getsockname()[0], connection.sock.getpeername()[0]
    if here != there and not is_loopback(there):
        raise ConnectionError(f"the engine's --host is {there}, which is not an address of this pod: its own is {here}")


def _encoded(body: Mapping[str, Any]) -> tuple[str, bytes]:
    """Returns the content type and the bytes of a body."""
    if not any(isinstance(value, bytes) for value in body.values()):
        return "application/json", json.dumps(body).encode()
    content = b"".join(value for value in body.values() if isinstance(value, bytes))
    boundary = hashlib.sha256(content).hexdigest()  # does not occur in the content
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
