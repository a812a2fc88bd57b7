"""Reads, writes, hashes and copies objects of the bucket by name, with retries and a deadline."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tunecast_core.bundle.hashing import Inspect, exhaust, hashed
from tunecast_core.errors import (
    DigestMismatchError,
    MalformedError,
    NotFoundError,
    StoreError,
    StoreUnavailableError,
    TunecastError,
)
from tunecast_core.records.manifest import Archive
from tunecast_core.store.breaker import Breaker
from tunecast_core.store.presigned import put
from tunecast_core.store.retry import Retries
from tunecast_core.store.s3 import READ_SECONDS, answered_within, code_of, connect, explained, signing
from tunecast_core.store.transport import Transport
from tunecast_core.trust.settings import StoreSettings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef

T = TypeVar("T")

RANGE = 8 * 2**20  # bytes of one request
SLOWEST_BYTES_PER_SECOND = 10 * 2**20  # assumed minimum, which extends the deadline of a large object
SLOWEST_INFLATED_PER_SECOND = 50 * 2**20  # likewise for its inspection
CHECK_SECONDS = 300  # lifetime of the presigned URL of a check
PRECONDITION_FAILED = "PreconditionFailed"
# Features of S3 that some stores lack: docs/stores.md.
CREATION = "conditional writes (If-None-Match: *)"
COPY = "conditional copies (x-amz-copy-source-if-match)"
RANGES = "reads of ranges (Range)"
SHORTEST = 0.1  # minimum time-out of an answer, in seconds
_CHUNK = 2**18


@dataclass(frozen=True, slots=True)
class Part:
    """RANGE bytes of an object, or its remainder, and the file that they are written to."""

    name: str
    start: int
    total: int  # size of the object in bytes
    descriptor: int


class BucketObjects:
    """The objects of one bucket. Thread-safe.

    Every method can raise StoreUnavailableError, AccessDeniedError, NotFoundError (the bucket doesn't exist) or
    StoreError. It ends by its deadline, which is ``until`` or ``seconds`` after the call, or CONNECT_SECONDS later if
    it is still connecting.

    Args:
        settings: location of the bucket.
        seconds: time limit of one call with all its tries.
        retries: retry policy, with the clock of the deadlines.
        breaker: makes calls fail at once for some time after one found the store unavailable.
    """

    def __init__(
        self, settings: StoreSettings, seconds: float, retries: Retries, breaker: Breaker | None = None
    ) -> None:
        self._settings, self._seconds, self._retries, self._breaker = settings, seconds, retries, breaker

    @functools.cached_property
    def _client(self) -> S3Client:
        return connect(self._settings)

    @property
    def transport(self) -> Transport:
        """How requests reach the store."""
        return self._settings.transport

    def close(self) -> None:
        """Closes the connections."""
        if "_client" in self.__dict__:
            self._client.close()

    def upload(self, name: str, data: bytes) -> None:
        """Writes an object through a presigned URL, as ranks do."""
        with explained("sign a URL for", self._settings, name):
            url = self._presign(self._client, name, CHECK_SECONDS)
        limit = self.limit()

        def once() -> None:
            seconds = max(SHORTEST, min(READ_SECONDS, limit - self._retries.clock()))
            put(url, io.BytesIO(data), len(data), seconds, self.transport)

        self._call(once, limit)

    def check_ranges(self, name: str) -> None:
        """Raises StoreError if the store ignores the Range header."""
        self._try("read a range of", name, lambda s3: self._first_byte(s3, name), needs=RANGES)

    def _first_byte(self, s3: S3Client, name: str) -> bytes:
        answer = s3.get_object(Bucket=self._settings.bucket, Key=name, Range="bytes=0-0")
        with closing(answer["Body"]) as body:
            _whole(answer, name)
            return body.read()

    def create(self, name: str, data: bytes) -> bool:
        """Writes an object. Returns False if one exists already, which is kept.

        The existence is checked first, because some stores ignore the condition of the write.
        """
        if self.size(name) is not None:
            return False
        try:
            self._try(
                "write",
                name,
                lambda s3: s3.put_object(
                    Bucket=self._settings.bucket,
                    Key=name,
                    Body=data,
                    ContentType="application/json",
                    IfNoneMatch="*",
                ),
                needs=CREATION,
            )
        except StoreError as error:
            if code_of(error.__cause__) in {PRECONDITION_FAILED, "ConditionalRequestConflict"}:
                return False
            raise
        return True

    def size(self, name: str) -> int | None:
        """Returns the size of an object in bytes, or None if it doesn't exist."""
        try:
            head = self._try("look at", name, lambda s3: s3.head_object(Bucket=self._settings.bucket, Key=name))
        except NotFoundError:
            return None
        return head["ContentLength"]

    def fetch(self, part: Part, until: float) -> None:
        """Fetches a part of an object and writes it to its position in the file."""

        def once(s3: S3Client) -> None:
            last = min(part.start + RANGE, part.total) - 1
            answer = s3.get_object(Bucket=self._settings.bucket, Key=part.name, Range=f"bytes={part.start}-{last}")
            position = part.start
            with closing(answer["Body"]) as body:
                total = _whole(answer, part.name)
                if total != part.total:
                    raise DigestMismatchError(f"{part.name} has {total} bytes, not the {part.total} of its manifest")
                for chunk in self._chunks(body, part.name, until):
                    position += os.pwrite(part.descriptor, chunk, position)
            if position != last + 1:
                raise StoreUnavailableError(f"{part.name} broke off at byte {position} of {part.total}")

        self._try("fetch", part.name, once, until, RANGES)

    def _chunks(self, body: StreamingBody, name: str, until: float) -> Iterator[bytes]:
        while chunk := body.read(_CHUNK):
            if self._retries.clock() >= until:
                raise StoreUnavailableError(f"the deadline passed before all of {name} was read")
            yield chunk

    def presign_puts(self, prefix: str, names: Iterable[str], seconds: int) -> dict[str, str]:
        """Returns presigned URLs that write objects below ``prefix``, by name."""
        with explained("sign URLs for", self._settings, prefix), signing(self._settings, seconds) as (client, left):
            return {name: self._presign(client, prefix + name, left) for name in names}

    def _presign(self, client: S3Client, name: str, seconds: int) -> str:
        parameters = {"Bucket": self._settings.bucket, "Key": name}
        return client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=seconds)

    @contextmanager
    def deleting(self, *names: str) -> Iterator[None]:
        """Deletes ``names`` when the block ends. An error of the block takes precedence over one of the deletion."""
        try:
            yield
        except TunecastError:
            with suppress(TunecastError):
                self.delete_all(names)
            raise
        self.delete_all(names)

    def delete_all(self, names: Iterable[str]) -> None:
        """Deletes these objects."""
        for name in names:
            self.delete(name)

    def delete(self, name: str) -> None:
        """Deletes an object if it exists."""
        self._try("delete", name, lambda s3: s3.delete_object(Bucket=self._settings.bucket, Key=name))

    def hash_archive(self, name: str, archive: Archive, inspect: Inspect = exhaust) -> str:
        """Verifies that the object's bytes are ``archive``, and returns its ETag."""
        until = self.limit() + archive.size / SLOWEST_BYTES_PER_SECOND + archive.unpacked / SLOWEST_INFLATED_PER_SECOND

        def once(s3: S3Client) -> str:
            answer = s3.get_object(Bucket=self._settings.bucket, Key=name)
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] != archive.size:
                    raise DigestMismatchError(f"{name} has {answer['ContentLength']} bytes, not {archive.size}")
                digest, refused = hashed(self._chunks(body, name, until), inspect)
            if digest != archive.digest:
                raise DigestMismatchError(f"{name} has digest {digest}, not {archive.digest}")
            if refused:
                raise refused
            return answer["ETag"]

        return self._try("hash", name, once, until)

    def copy(self, source: str, target: str, tag: str, size: int) -> str:
        """Copies an object and returns the ETag of the copy. S3 answers only when the copy is done."""
        bucket = self._settings.bucket
        answer = self._try(
            "copy to",
            target,
            lambda s3: s3.copy_object(
                Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": source}, CopySourceIfMatch=tag
            ),
            until=self.limit() + size / SLOWEST_BYTES_PER_SECOND,
            needs=COPY,
            answer_seconds=float("inf"),
        )
        return answer["CopyObjectResult"]["ETag"]

    def sizes(self, prefix: str, until: float | None = None) -> dict[str, int]:
        """Returns the sizes in bytes of the objects below ``prefix``, by name without the prefix."""

        def once(s3: S3Client) -> dict[str, int]:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self._settings.bucket, Prefix=prefix)
            found = [item for page in pages for item in page.get("Contents", [])]
            return {item["Key"].removeprefix(prefix): item["Size"] for item in found}

        return self._try("list", prefix, once, until)

    def read(self, name: str, most: int, until: float | None = None) -> bytes | None:
        """Returns an object, or None if it doesn't exist. Raises MalformedError beyond ``most`` bytes."""
        limit = self.limit(until)

        def once(s3: S3Client) -> bytes:
            answer = s3.get_object(Bucket=self._settings.bucket, Key=name)
            data = b""
            with closing(answer["Body"]) as body:
                for chunk in self._chunks(body, name, limit):
                    data += chunk
                    if len(data) > most:
                        raise MalformedError(f"{name} has more than the {most} bytes that are read of it")
            return data

        try:
            return self._try("read", name, once, limit)
        except NotFoundError as error:
            if code_of(error.__cause__) == "NoSuchBucket":
                raise
            return None

    def _try(
        self,
        doing: str,
        name: str,
        work: Callable[[S3Client], T],
        until: float | None = None,
        needs: str = "",
        answer_seconds: float = READ_SECONDS,
    ) -> T:
        limit = self.limit(until)

        def once() -> T:
            seconds = max(SHORTEST, min(answer_seconds, limit - self._retries.clock()))
            with explained(doing, self._settings, name, needs), answered_within(seconds):
                return work(self._client)

        return self._call(once, limit)

    def _call(self, work: Callable[[], T], limit: float) -> T:
        if self._breaker is None:
            return self._retries.call(work, limit)
        return self._breaker.call(lambda: self._retries.call(work, limit))

    def limit(self, until: float | None = None) -> float:
        """Returns ``until``, or the deadline of a call that begins now, by the clock of ``retries``."""
        return self._retries.clock() + self._seconds if until is None else until


def _whole(answer: GetObjectOutputTypeDef, name: str) -> int:
    """Returns the size in bytes of the object of which ``answer`` is a range."""
    if "ContentRange" not in answer:
        raise StoreError(f"the store sent all of {name}, and ignored {RANGES}: see docs/stores.md")
    return int(answer["ContentRange"].rpartition("/")[2])
