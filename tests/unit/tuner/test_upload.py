from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from support.answering_s3 import AnsweringS3, answering
from tunecast_core.records import job
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.rank.upload import TRIES, upload, waits


@pytest.fixture
def s3() -> Iterator[AnsweringS3]:
    with answering() as found:
        yield found


def settings(**uploads: str) -> job.JobSettings:
    return job.JobSettings("uid-1", "key", 1, "localhost", 1, "Engine", "/nowhere", 1.0, uploads=uploads)


def test_waits_grow_and_are_jittered() -> None:
    assert list(waits(5, lambda: 1.0)) == [1, 2, 4, 8]
    assert list(waits(5, lambda: 0.0)) == [0.5, 1, 2, 4]


def test_tries_end_and_urls_are_read_again_each_time() -> None:
    reads: list[int] = []
    pauses: list[float] = []

    def urls() -> job.JobSettings:
        reads.append(1)
        return settings(x="http://127.0.0.1:9/x?X-Amz-Signature=secret")

    with pytest.raises(AttemptError, match="x was not staged after 6 tries: can't write http") as caught:
        upload(urls, "x", lambda: io.BytesIO(b"1"), 1, pauses.append)
    assert caught.value.reason == job.UPLOAD_FAILED
    assert "secret" not in caught.value.message
    assert (len(reads), len(pauses)) == (TRIES, TRIES - 1)


def test_a_permanent_refusal_is_reported_with_advice(s3: AnsweringS3) -> None:
    s3.status, s3.code = 307, "TemporaryRedirect"
    with pytest.raises(AttemptError, match="set s3") as caught:
        upload(lambda: settings(x=f"{s3.endpoint}/x"), "x", lambda: io.BytesIO(b"1"), 1, lambda _: None)
    assert caught.value.reason == job.UPLOAD_FAILED
    assert len(s3.paths) == TRIES


def test_a_temporary_refusal_is_forgotten(s3: AnsweringS3) -> None:
    def well(_: float) -> None:
        s3.status = 200

    s3.status, s3.code = 403, "AccessDenied"
    upload(lambda: settings(x=f"{s3.endpoint}/x"), "x", lambda: io.BytesIO(b"1"), 1, well)
    assert len(s3.paths) == 2


def expired(s3: AnsweringS3) -> None:
    s3.status, s3.code, s3.message = 403, "AccessDenied", "Request has expired"


def test_a_renewed_url_is_waited_for_where_one_has_expired(s3: AnsweringS3) -> None:
    """The wait lasts as long as a kubelet needs to update a mounted Secret."""
    known = {"x": f"{s3.endpoint}/x?old"}
    pauses: list[float] = []

    def kubelet(pause: float) -> None:
        pauses.append(pause)
        if sum(pauses) >= 120:
            known["x"], s3.status = f"{s3.endpoint}/x?new", 200

    expired(s3)
    upload(lambda: settings(**known), "x", lambda: io.BytesIO(b"1"), 1, kubelet)
    assert sum(pauses) == 120
    assert s3.paths == ["/x?old", "/x?new"]


def test_the_wait_for_a_renewed_url_ends(s3: AnsweringS3) -> None:
    pauses: list[float] = []
    expired(s3)
    with pytest.raises(AttemptError, match="No renewed URL came within 180 s") as caught:
        upload(lambda: settings(x=f"{s3.endpoint}/x"), "x", lambda: io.BytesIO(b"1"), 1, pauses.append)
    assert caught.value.reason == job.UPLOAD_FAILED
    assert (sum(pauses), len(s3.paths)) == (180, 1)


def test_renewed_urls_that_have_expired_too_end_the_tries(s3: AnsweringS3) -> None:
    """This happens if the operator's clock is wrong."""
    expired(s3)
    numbers = iter(range(99))
    with pytest.raises(AttemptError, match=r"after 6 tries: .*expired"):
        upload(lambda: settings(x=f"{s3.endpoint}/x?{next(numbers)}"), "x", lambda: io.BytesIO(b"1"), 1, lambda _: None)


def test_no_url() -> None:
    with pytest.raises(AttemptError, match="no URL for x"):
        upload(settings, "x", lambda: io.BytesIO(b""), 0)
