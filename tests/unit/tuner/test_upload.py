from __future__ import annotations

import io
import urllib.error
from email.message import Message

import pytest

from tunecast_cache import job
from tunecast_tuner.failures import AttemptError
from tunecast_tuner.upload import TRIES, describe, upload, waits


def test_waits_grow_and_are_jittered() -> None:
    assert list(waits(5, lambda: 1.0)) == [1, 2, 4, 8]
    assert list(waits(5, lambda: 0.0)) == [0.5, 1, 2, 4]


def test_tries_end_and_urls_are_read_again_each_time() -> None:
    reads: list[int] = []
    pauses: list[float] = []

    def urls() -> dict[str, str]:
        reads.append(1)
        return {"x": "http://127.0.0.1:9/x?X-Amz-Signature=secret"}

    with pytest.raises(AttemptError, match="x was not staged after") as caught:
        upload(urls, "x", lambda: io.BytesIO(b"1"), 1, pauses.append)
    assert caught.value.reason == job.UPLOAD_FAILED
    assert "secret" not in caught.value.message
    assert (len(reads), len(pauses)) == (TRIES, TRIES - 1)


def test_no_url() -> None:
    with pytest.raises(AttemptError, match="no URL for x"):
        upload(dict, "x", lambda: io.BytesIO(b""), 0)


def test_what_s3_says_is_kept() -> None:
    error = urllib.error.HTTPError(
        "http://x?secret", 403, "Forbidden", Message(), io.BytesIO(b"<Code>\nExpired</Code>")
    )
    assert describe(error) == "HTTP 403 Forbidden <Code> Expired</Code>"
