"""Uploads that the store, or a proxy in front of it, refuses."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from support.answering_s3 import AnsweringS3, answering
from tunecast_core.errors import AccessDeniedError, NotFoundError, StoreError, StoreUnavailableError, UrlExpiredError
from tunecast_core.store.presigned import end_of, put

LARGE = 16 * 2**20  # more than sockets buffer: the server hangs up while it is sent
QUERY = "X-Amz-Date=20260101T000000Z&X-Amz-Expires={expires}&X-Amz-Signature=5d672d79"
LIVING, ENDED = QUERY.format(expires=10**9), QUERY.format(expires=60)


@pytest.fixture
def s3() -> Iterator[AnsweringS3]:
    with answering() as found:
        yield found


def refused(s3: AnsweringS3, size: int = 10, query: str = LIVING) -> StoreError:
    with pytest.raises(StoreError) as caught:
        put(f"{s3.endpoint}/bundles/o?{query}", io.BytesIO(bytes(size)), size, 5.0)
    text = str(caught.value)
    assert text.startswith(f"can't write {s3.endpoint}/bundles/o: ")
    assert "5d672d79" not in text
    return caught.value


@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "advice"),
    [
        (301, "PermanentRedirect", "The bucket is elsewhere.", StoreError, "set s3.region"),
        (307, "TemporaryRedirect", "Please re-send.", StoreError, "set s3.region"),
        (308, "", "", StoreError, "set s3.region"),
        (400, "AuthorizationHeaderMalformed", "The region is wrong.", StoreError, "set s3.region"),
        (400, "IllegalLocationConstraintException", "The region.", StoreError, "set s3.region"),
        (403, "SignatureDoesNotMatch", "They differ.", AccessDeniedError, "s3.addressingStyle"),
        (403, "RequestTimeTooSkewed", "Too far.", AccessDeniedError, "clocks"),
        (403, "AccessDenied", "Request is not valid yet", AccessDeniedError, "clocks"),
        (403, "AccessDenied", "Access Denied", AccessDeniedError, "the bucket's policy"),
        (403, "InvalidAccessKeyId", "No such key.", AccessDeniedError, "check the credentials"),
        (400, "InvalidToken", "Malformed.", AccessDeniedError, "session token"),
        (403, "AccessDenied", "Request has expired", UrlExpiredError, "expired"),
        (400, "ExpiredToken", "The provided token has expired.", UrlExpiredError, "expired"),
        (404, "NoSuchBucket", "", NotFoundError, "make the bucket"),
        (405, "MethodNotAllowed", "", StoreError, "s3.endpoint"),
        (413, "", "", StoreError, "raise that limit"),
        (501, "NotImplemented", "A header.", StoreError, "docs/stores.md"),
    ],
)
def test_a_refusal_has_advice(
    s3: AnsweringS3, status: int, code: str, message: str, kind: type[StoreError], advice: str, size: int
) -> None:
    s3.status, s3.code, s3.message = status, code, message
    error = refused(s3, size)
    assert type(error) is kind
    assert advice in str(error)
    assert len(s3.paths) == 1, "redirects are not followed"


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (429, ""), (400, "RequestTimeout")]
)
def test_temporary_errors_are_distinguished(s3: AnsweringS3, status: int, code: str) -> None:
    s3.status, s3.code = status, code
    assert type(refused(s3)) is StoreUnavailableError


def test_a_redirect_that_names_the_region_is_quoted(s3: AnsweringS3) -> None:
    s3.status, s3.code, s3.headers = 307, "TemporaryRedirect", {"x-amz-bucket-region": "eu-west-1"}
    assert "the bucket's region, eu-west-1," in str(refused(s3))


def test_any_refusal_of_an_expired_url_counts_as_expiry(s3: AnsweringS3) -> None:
    s3.status, s3.code = 403, "AccessDenied"
    error = refused(s3, query=ENDED)
    assert type(error) is UrlExpiredError
    assert "expired at 00:01:00 UTC" in str(error)


def test_a_page_of_a_proxy_is_not_repeated(s3: AnsweringS3) -> None:
    s3.status, s3.page = 403, b"<html>http://store/bundles?X-Amz-Signature=5d672d79 is denied</html>"
    assert "Forbidden" in str(refused(s3))


def test_proxies_of_the_environment_are_not_asked(s3: AnsweringS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    put(f"{s3.endpoint}/bundles/o?{LIVING}", io.BytesIO(b"1"), 1, 5.0)
    assert s3.paths == [f"/bundles/o?{LIVING}"]


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n\r\n"])
def test_what_is_no_http_server_is_unavailable(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(answer)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(StoreUnavailableError, match="can't write http"):
            put(f"http://127.0.0.1:{listener.getsockname()[1]}/o", io.BytesIO(b""), 0, 5.0)
        thread.join()


def test_nobody_listens() -> None:
    with pytest.raises(StoreUnavailableError, match="Connection refused"):
        put("http://127.0.0.1:9/o", io.BytesIO(b""), 0, 5.0)


def test_when_a_url_ends() -> None:
    assert end_of(f"https://store/o?{ENDED}") == datetime(2026, 1, 1, 0, 1, tzinfo=timezone.utc)
    assert end_of("http://store/o") is None
    assert end_of("http://store/o?X-Amz-Date=x&X-Amz-Expires=y") is None
