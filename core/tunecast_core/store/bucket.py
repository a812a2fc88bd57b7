"""All that Tunecast does in its bucket; ``layout`` has the names. Used by the operator and the init container."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tunecast_core.bundle import layout
from tunecast_core.bundle.hashing import Inspect, exhaust, hashed
from tunecast_core.errors import (
    BundleError,
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
from tunecast_core.store.s3 import CONNECTIONS, READ_SECONDS, answered_within, code_of, connect, explained, signing
from tunecast_core.store.transport import Transport
from tunecast_core.trust.settings import StoreSettings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef

T = TypeVar("T")

RANGE = 8 * 2**20  # bytes of one request
LARGEST_COPY = 5 * 2**30  # S3's own limit
SLOWEST_BYTES_PER_SECOND = 10 * 2**20  # at which a large object is still worth waiting for
SLOWEST_INFLATED_PER_SECOND = 50 * 2**20  # for what inspects it
MANIFEST_LIMIT = 8 * 2**20
CHECK_SECONDS = 300  # that the URL of a check lives
PRECONDITION_FAILED = "PreconditionFailed"
# Features of S3 that some stores lack: docs/stores.md.
CREATION = "conditional writes (If-None-Match: *)"
COPY = "conditional copies (x-amz-copy-source-if-match)"
RANGES = "reads of ranges (Range)"
SHORTEST = 0.1  # seconds that an answer is waited for
_CHUNK = 2**18


@dataclass(frozen=True, slots=True)
class _Part:
    """RANGE bytes of a blob, or its rest, and the file they go to."""

    name: str
    start: int
    total: int  # bytes of the blob
    descriptor: int


class Store:
    """The bucket of one installation. Thread-safe.

    Every method raises StoreUnavailableError, AccessDeniedError, NotFoundError (no such bucket) or StoreError. It ends
    by its deadline, ``seconds`` from its call or ``until``; or CONNECT_SECONDS later, where it then still connects.

    Args:
        settings: where it is.
        seconds: of one call, with all its tries.
        retries: tries and pauses, and the clock that deadlines are read from.
        breaker: has calls fail at once for some time after one found the store unavailable.
    """

    def __init__(
        self,
        settings: StoreSettings,
        *,
        seconds: float = 60.0,
        retries: Retries | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._settings, self._seconds, self._breaker = settings, seconds, breaker
        self._retries = retries or Retries()

    @functools.cached_property
    def _client(self) -> S3Client:
        return connect(self._settings)

    @property
    def transport(self) -> Transport:
        """How requests get there."""
        return self._settings.transport

    def _try(
        self,
        doing: str,
        name: str,
        work: Callable[[S3Client], T],
        until: float | None = None,
        needs: str = "",
        answer_seconds: float = READ_SECONDS,
    ) -> T:
        limit = self._limit(until)

        def once() -> T:
            seconds = max(SHORTEST, min(answer_seconds, limit - self._retries.clock()))
            with explained(doing, self._settings, name, needs), answered_within(seconds):
                return work(self._client)

        return self._call(once, limit)

    def _call(self, work: Callable[[], T], limit: float) -> T:
        if self._breaker is None:
            return self._retries.call(work, limit)
        return self._breaker.call(lambda: self._retries.call(work, limit))

    def _limit(self, until: float | None = None) -> float:
        return self._retries.clock() + self._seconds if until is None else until

    def close(self) -> None:
        """Closes its connections."""
        if "_client" in self.__dict__:
            self._client.close()

    def check(self) -> None:
        """Does once all that tunings and replicas need, with objects of its own, which it deletes.

        Raises:
            TunecastError: the first thing that failed, and what to change.
        """
        staged, created, copied = (layout.check_object(self._settings.prefix, uuid.uuid4().hex) for _ in range(3))
        data = uuid.uuid4().bytes
        self._upload(staged, data)
        with self._deleting(staged, created, copied):
            self._try("read a range of", staged, lambda s3: self._first_byte(s3, staged), needs=RANGES)
            self._create(created, data)
            self._take_over(staged, copied, Archive("", hashlib.sha256(data).hexdigest(), len(data), 0, 1))

    def _upload(self, name: str, data: bytes) -> None:
        """As ranks do, without credentials."""
        with explained("sign a URL for", self._settings, name):
            url = self._presign(self._client, name, CHECK_SECONDS)
        limit = self._limit()

        def once() -> None:
            seconds = max(SHORTEST, min(READ_SECONDS, limit - self._retries.clock()))
            put(url, io.BytesIO(data), len(data), seconds, self.transport)

        self._call(once, limit)

    @contextmanager
    def _deleting(self, *names: str) -> Iterator[None]:
        """Deletes ``names`` at the end. An error of the block takes precedence over one of the deletion."""
        try:
            yield
        except TunecastError:
            with suppress(TunecastError):
                self._delete_all(names)
            raise
        self._delete_all(names)

    def _delete_all(self, names: Iterable[str]) -> None:
        for name in names:
            self._delete(name)

    def _first_byte(self, s3: S3Client, name: str) -> bytes:
        answer = s3.get_object(Bucket=self._settings.bucket, Key=name, Range="bytes=0-0")
        with closing(answer["Body"]) as body:
            _whole(answer, name)
            return body.read()

    def get_manifest(
        self, namespace: str, key: str, hardware: str, signer: str, until: float | None = None
    ) -> bytes | None:
        """The envelope that ``signer`` published for ``key`` and ``hardware``, or None."""
        name = layout.manifest_object(self._settings.prefix, namespace, key, hardware, signer)
        return self._read(name, MANIFEST_LIMIT, until)

    def list_manifests(self, namespace: str, key: str, until: float | None = None) -> list[tuple[str, str]]:
        """Hardware and signer of each manifest that was published for ``key``."""
        names = self._list(layout.manifests_prefix(self._settings.prefix, namespace, key), until)
        parts = (name.removesuffix(".json").split("/") for name in names if name.endswith(".json"))
        return sorted((part[0], part[1]) for part in parts if len(part) == 2)  # noqa: PLR2004 - hardware and signer

    def put_manifest(self, namespace: str, key: str, hardware: str, signer: str, envelope: bytes) -> bool:
        """Publishes an envelope; False where there is one already, which stays."""
        name = layout.manifest_object(self._settings.prefix, namespace, key, hardware, signer)
        return self._create(name, envelope)

    def _create(self, name: str, data: bytes) -> bool:
        """Writes an object; False where there is one already, which stays.

        It looks first: some stores read over the condition, and then only an operator beside this one could be faster.
        """
        if self._size(name) is not None:
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

    def blob_exists(self, namespace: str, digest: str, size: int) -> bool:
        """Whether the archive is there, whole."""
        return self._size(layout.blob_object(self._settings.prefix, namespace, digest)) == size

    def _size(self, name: str) -> int | None:
        """Bytes of an object; None where there is none."""
        try:
            head = self._try("look at", name, lambda s3: s3.head_object(Bucket=self._settings.bucket, Key=name))
        except NotFoundError:
            return None
        return head["ContentLength"]

    def download(self, namespace: str, archives: Sequence[tuple[Archive, Path]], until: float | None = None) -> None:
        """Writes archives to files, all of them in parallel ranges. Their digests are for ``bundle.install`` to check.

        Raises:
            NotFoundError: one isn't there.
            DigestMismatchError: one has another size than the archive says.
        """
        limit = self._limit(until)
        with ExitStack() as files, ThreadPoolExecutor(CONNECTIONS) as pool:
            parts = []
            for archive, path in archives:
                descriptor = files.enter_context(path.open("wb")).fileno()
                name = layout.blob_object(self._settings.prefix, namespace, archive.digest)
                parts += [_Part(name, start, archive.size, descriptor) for start in range(0, archive.size, RANGE)]
            waiting = [pool.submit(self._fetch, part, limit) for part in parts]
            try:
                for done in waiting:
                    done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _fetch(self, part: _Part, until: float) -> None:
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
                raise StoreUnavailableError(f"the deadline was over before {name} was read whole")
            yield chunk

    def presign_puts(self, namespace: str, key: str, job: str, names: Iterable[str], seconds: int) -> dict[str, str]:
        """URLs that write staged objects without credentials, by ``names``.

        They expire after ``seconds``, or with the credentials that sign them, which are fetched anew.
        """
        prefix = layout.staging_prefix(self._settings.prefix, namespace, key, job)
        with explained("sign URLs for", self._settings, prefix), signing(self._settings, seconds) as (client, left):
            return {name: self._presign(client, prefix + name, left) for name in names}

    def _presign(self, client: S3Client, name: str, seconds: int) -> str:
        parameters = {"Bucket": self._settings.bucket, "Key": name}
        return client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=seconds)

    def staged(self, namespace: str, key: str, job: str) -> dict[str, int]:
        """Bytes of what an attempt staged, by name."""
        prefix = layout.staging_prefix(self._settings.prefix, namespace, key, job)
        return self._list(prefix)

    def staged_jobs(self, namespace: str) -> list[tuple[str, str]]:
        """Key and job of all attempts that have anything staged."""
        names = self._list(layout.staging_root(self._settings.prefix, namespace))
        return sorted({(key, job) for key, job, *_ in (name.split("/", 2) for name in names if name.count("/") > 1)})

    def read_staged(self, namespace: str, key: str, job: str, name: str, limit: int) -> bytes | None:
        """A staged object, or None where there is none; MalformedError where it has more than ``limit`` bytes."""
        return self._read(layout.staging_prefix(self._settings.prefix, namespace, key, job) + name, limit)

    def delete_staged(self, namespace: str, key: str, job: str) -> None:
        """Removes all that an attempt staged."""
        prefix = layout.staging_prefix(self._settings.prefix, namespace, key, job)
        self._delete_all(prefix + name for name in self._list(prefix))

    def delete_all_staged(self, namespace: str, key: str, uid: str) -> None:
        """Removes all that attempts of one StartupCache staged."""
        prefix = layout.staging_of(self._settings.prefix, namespace, key, uid)
        self._delete_all(prefix + name for name in self._list(prefix))

    def delete_manifest(self, namespace: str, key: str, hardware: str, signer: str) -> None:
        """Removes a manifest that can't be used, so that another takes its place."""
        self._delete(layout.manifest_object(self._settings.prefix, namespace, key, hardware, signer))

    def _delete(self, name: str) -> None:
        self._try("delete", name, lambda s3: s3.delete_object(Bucket=self._settings.bucket, Key=name))

    def publish(
        self, namespace: str, key: str, job: str, name: str, archive: Archive, inspect: Inspect = exhaust
    ) -> None:
        """Takes a staged archive over as a blob, after hashing it. A swap between hashing and copying is noticed.

        ``inspect`` is given the archive's bytes, and raises BundleError or MalformedError if it may not be published.

        Raises:
            NotFoundError: nothing of that name is staged.
            DigestMismatchError: what is staged isn't ``archive``.
            BundleError: it is larger than what S3 copies at once.
        """
        if archive.size > LARGEST_COPY:
            raise BundleError(
                f"the archive of layer {archive.layer} has {archive.size} bytes: S3 copies {LARGEST_COPY}"
            )
        blob = layout.blob_object(self._settings.prefix, namespace, archive.digest)
        if self.blob_exists(namespace, archive.digest, archive.size) and self._intact(blob, archive, inspect):
            return
        staged = layout.staging_prefix(self._settings.prefix, namespace, key, job) + name
        self._take_over(staged, blob, archive, inspect)

    def _intact(self, blob: str, archive: Archive, inspect: Inspect) -> bool:
        """Whether a blob that is there holds ``archive``: who put it there isn't known."""
        try:
            self._hash(blob, archive, inspect)
        except DigestMismatchError:
            self._delete(blob)
            return False
        return True

    def _take_over(self, staged: str, blob: str, archive: Archive, inspect: Inspect = exhaust) -> None:
        tag = self._hash(staged, archive, inspect)
        try:
            copied = self._copy(staged, blob, tag, archive.size)
        except StoreError as error:
            if code_of(error.__cause__) == PRECONDITION_FAILED:
                raise DigestMismatchError(f"{staged} was replaced after it was hashed; nothing is published") from error
            raise
        if copied == tag:
            return
        try:  # the store read over the condition, as Ceph does; or it encrypts, and a copy has another tag
            self._hash(blob, archive)
        except DigestMismatchError:
            self._delete(blob)
            raise

    def _hash(self, name: str, archive: Archive, inspect: Inspect = exhaust) -> str:
        """The ETag of the object whose bytes are ``archive``'s."""
        until = self._limit() + archive.size / SLOWEST_BYTES_PER_SECOND + archive.unpacked / SLOWEST_INFLATED_PER_SECOND

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

    def _copy(self, source: str, target: str, tag: str, size: int) -> str:
        """The ETag of the copy. S3 answers only when it is done."""
        bucket = self._settings.bucket
        answer = self._try(
            "copy to",
            target,
            lambda s3: s3.copy_object(
                Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": source}, CopySourceIfMatch=tag
            ),
            until=self._limit() + size / SLOWEST_BYTES_PER_SECOND,
            needs=COPY,
            answer_seconds=float("inf"),
        )
        return answer["CopyObjectResult"]["ETag"]

    def _list(self, prefix: str, until: float | None = None) -> dict[str, int]:
        """Bytes of the objects below ``prefix``, by name without it."""

        def once(s3: S3Client) -> dict[str, int]:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self._settings.bucket, Prefix=prefix)
            found = [item for page in pages for item in page.get("Contents", [])]
            return {item["Key"].removeprefix(prefix): item["Size"] for item in found}

        return self._try("list", prefix, once, until)

    def _read(self, name: str, most: int, until: float | None = None) -> bytes | None:
        limit = self._limit(until)

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


def _whole(answer: GetObjectOutputTypeDef, name: str) -> int:
    """Bytes of the object of which ``answer`` is a range."""
    if "ContentRange" not in answer:
        raise StoreError(f"the store sent all of {name}, and ignored {RANGES}: see docs/stores.md")
    return int(answer["ContentRange"].rpartition("/")[2])
