"""PUT requests to presigned URLs, the only access of ranks to the store. Needs only the standard library."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

from tunecast_core.errors import StoreError, UrlExpiredError
from tunecast_core.store.refusals import ErrorAnswer, no_answer, refusal
from tunecast_core.store.transport import DIRECT, Transport

SOCKET_SECONDS = 60.0
_ERROR_BYTES = 4096  # bytes of an error's body that are read
_DATE = "%Y%m%dT%H%M%SZ"


def put(url: str, body: BinaryIO, size: int, timeout: float = SOCKET_SECONDS, transport: Transport = DIRECT) -> None:
    """Streams one PUT request. Credentials and proxies of the environment are not used; redirects are not followed.

    Args:
        url: presigned URL. No error shows its query, which is a credential.
        body: file that is read from its current position.
        size: size of the body in bytes.
        timeout: seconds of one read or write of the socket.
        transport: how the request reaches the store.

    Raises:
        StoreUnavailableError: no answer came, or the answer states that a retry may succeed.
        UrlExpiredError: the URL, or the credentials that signed it, expired.
        StoreError: the store refused the request; the message states what to change.
    """
    headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data=body, headers=headers, method="PUT")  # noqa: S310 - the operator's URL
    what = f"can't write {url.partition('?')[0]}"
    try:
        with _opener(transport).open(request, timeout=timeout) as response:
            response.read()
    except urllib.error.HTTPError as error:
        raise _refused(what, url, error) from None
    except (OSError, http.client.HTTPException) as error:
        raise no_answer(what, str(getattr(error, "reason", error)) or type(error).__name__) from None


def life_of(url: str) -> int | None:
    """Returns the lifetime of a presigned URL in seconds, or None if its query doesn't state one."""
    found = parse_qs(urlsplit(url).query).get("X-Amz-Expires", [""])[0]
    return int(found) if found.isdecimal() else None


def end_of(url: str) -> datetime | None:
    """Returns the time at which a presigned URL expires, or None if its query doesn't state one."""
    life, signed = life_of(url), parse_qs(urlsplit(url).query).get("X-Amz-Date", [""])[0]
    try:
        begun = datetime.strptime(signed, _DATE).replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return None if life is None else begun + timedelta(seconds=life)


def _refused(what: str, url: str, error: urllib.error.HTTPError) -> StoreError:
    with error:
        answer = _answer(error)
    found = refusal(what, answer)
    end = end_of(url)
    if 400 <= answer.status < 500 and end and end <= datetime.now(timezone.utc):  # noqa: PLR2004
        return UrlExpiredError(f"{found}; the URL expired at {end:%H:%M:%S} UTC")
    return found


def _answer(error: urllib.error.HTTPError) -> ErrorAnswer:
    """Reads only S3's code and message from an error, because an error page of a proxy could show the URL."""
    body = b""
    with contextlib.suppress(OSError, http.client.HTTPException):
        body = error.read(_ERROR_BYTES)
    code, message = (_element(tag, body) for tag in ("Code", "Message"))
    region = error.headers.get("x-amz-bucket-region") or _element("Region", body)
    return ErrorAnswer(error.code, code, message or ("" if code else str(error.reason)), region)


def _element(tag: str, body: bytes) -> str:
    found = re.search(rf"<{tag}>([^<]*)</{tag}>".encode(), body)
    return found[1].decode(errors="replace") if found else ""


class _EarlyAnswer(http.client.HTTPConnection):
    """Reads the answer even if the server sent it and closed the connection before it read the whole body."""

    def request(self, *arguments: Any, **named: Any) -> None:
        try:
            super().request(*arguments, **named)
        except (BrokenPipeError, ConnectionResetError):
            if self.sock is None:  # the connection was never established
                raise


class _EarlyAnswerTls(_EarlyAnswer, http.client.HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_EarlyAnswer, request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._tls = context

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_EarlyAnswerTls, request, context=self._tls)


def _opener(transport: Transport) -> urllib.request.OpenerDirector:
    proxies = urllib.request.ProxyHandler(transport.proxies)
    return urllib.request.build_opener(proxies, _Http(), _Https(transport.tls()))
