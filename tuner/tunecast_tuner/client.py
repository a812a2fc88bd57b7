"""A thin HTTP client of the engine, with the standard library alone."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP status and the JSON object that came with it, if one did."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Client:
    """Calls the engine on this host. Errors are OSError or http.client.HTTPException."""

    port: int
    api_key: str | None = None
    timeout: float = 600.0  # seconds; a request may wait for a kernel to be built

    def healthy(self) -> bool:
        """Whether ``/health`` answers 200 within two seconds; never raises."""
        try:
            return self._call("GET", "/health", None, timeout=2.0).status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str) -> Reply:
        return self._call("GET", path, None, self.timeout)

    def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        return self._call("POST", path, body, self.timeout)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float) -> Reply:
        headers = {"Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return Reply(response.status, _object(response.read()))
        finally:
            connection.close()


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
