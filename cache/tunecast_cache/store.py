"""All that Tunecast does in its bucket; ``layout`` has the names. Used by the operator and the init container."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tunecast_cache import layout
from tunecast_cache.errors import (
    BundleError,
    DigestMismatchError,
    MalformedError,
    NotFoundError,
    StoreError,
    StoreUnavailableError,
)
from tunecast_cache.manifest import Archive
from tunecast_cache.retry import Retries
from tunecast_cache.s3 import CONNECTIONS, READ_SECONDS, code_of, connect, explained
from tunecast_cache.trust import StoreSettings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3.client import S3Client

T = TypeVar("T")

RANGE = 8 * 2**20  # bytes of one request
LARGEST_COPY = 5 * 2**30  # S3's own limit
SLOWEST_BYTES_PER_SECOND = 10 * 2**20  # at which a large object is still worth waiting for
MANIFEST_LIMIT = 8 * 2**20
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

    Every method raises StoreUnavailableError, AccessDeniedError, NotFoundError (no such bucket) or StoreError, and
    ends by its deadline: ``seconds`` from its call, or ``until``.

    Args:
        settings: where it is.
        seconds: of one call, with all its tries.
        read_seconds: of one answer; S3 answers a copy only when it is done.
        retries: tries and pauses, and the clock that deadlines are read from.
    """

    def __init__(
        self,
        settings: StoreSettings,
        *,
        seconds: float = 60.0,
        read_seconds: float = READ_SECONDS,
        retries: Retries | None = None,
    ) -> None:
        self._settings, self._seconds, self._read_seconds = settings, seconds, read_seconds
        self._retries = retries or Retries()

    @functools.cached_property
    def _client(self) -> S3Client:
        return connect(self._settings, self._read_seconds)

    def _try(self, doing: str, name: str, work: Callable[[S3Client], T], until: float | None = None) -> T:
        def once() -> T:
            with explained(doing, self._settings, name):
                return work(self._client)

        return self._retries.call(once, self._retries.clock() + self._seconds if until is None else until)

    def close(self) -> None:
        """Closes its connections."""
        if "_client" in self.__dict__:
            self._client.close()

    def check(self) -> None:
        """Raises StoreError unless the bucket answers."""
        self._try("reach", "", lambda s3: s3.head_bucket(Bucket=self._settings.bucket))

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
        try:
            self._try(
                "write",
                name,
                lambda s3: s3.put_object(
                    Bucket=self._settings.bucket,
                    Key=name,
                    Body=envelope,
                    ContentType="application/json",
                    IfNoneMatch="*",
                ),
            )
        except StoreError as error:
            if code_of(error.__cause__) in {"PreconditionFailed", "ConditionalRequestConflict"}:
                return False
            raise
        return True

    def blob_exists(self, namespace: str, digest: str, size: int) -> bool:
        """Whether the archive is there, whole."""
        name = layout.blob_object(self._settings.prefix, namespace, digest)
        try:
            head = self._try("look at", name, lambda s3: s3.head_object(Bucket=self._settings.bucket, Key=name))
        except NotFoundError:
            return False
        return head["ContentLength"] == size

    def download(self, namespace: str, archives: Sequence[tuple[Archive, Path]], until: float | None = None) -> None:
        """Writes archives to files, all of them in parallel ranges. Their digests are for ``bundle.install`` to check.

        Raises:
            NotFoundError: one isn't there.
            DigestMismatchError: one has another size than the archive says.
        """
        limit = self._retries.clock() + self._seconds if until is None else until
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
            total = int(answer.get("ContentRange", "/0").rpartition("/")[2])
            position = part.start
            with closing(answer["Body"]) as body:
                if total != part.total:
                    raise DigestMismatchError(f"{part.name} has {total} bytes, not the {part.total} of its manifest")
                for chunk in self._chunks(body, part.name, until):
                    position += os.pwrite(part.descriptor, chunk, position)
            if position != last + 1:
                raise StoreUnavailableError(f"{part.name} broke off at byte {position} of {part.total}")

        self._try("fetch", part.name, once, until)

    def _chunks(self, body: StreamingBody, name: str, until: float) -> Iterator[bytes]:
        while chunk := body.read(_CHUNK):
            if self._retries.clock() >= until:
                raise StoreUnavailableError(f"the deadline was over before {name} was read whole")
            yield chunk

    def presign_put(self, namespace: str, key: str, job: str, name: str, expires_seconds: int) -> str:
        """A URL that writes one staged object without credentials."""
        staged = layout.staging_prefix(self._settings.prefix, namespace, key, job) + name
        parameters = {"Bucket": self._settings.bucket, "Key": staged}
        with explained("sign a URL for", self._settings, staged):
            return self._client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=expires_seconds)

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
        for name in self._list(prefix):
            self._delete(prefix + name)

    def delete_manifest(self, namespace: str, key: str, hardware: str, signer: str) -> None:
        """Removes a manifest that can't be used, so that another takes its place."""
        self._delete(layout.manifest_object(self._settings.prefix, namespace, key, hardware, signer))

    def _delete(self, name: str) -> None:
        self._try("delete", name, lambda s3: s3.delete_object(Bucket=self._settings.bucket, Key=name))

    def publish(self, namespace: str, key: str, job: str, name: str, archive: Archive) -> None:
        """Takes a staged archive over as a blob, after hashing it. A swap between hashing and copying is noticed.

        Raises:
            NotFoundError: nothing of that name is staged.
            DigestMismatchError: what is staged isn't ``archive``.
            BundleError: it is larger than what S3 copies at once.
        """
        if archive.size > LARGEST_COPY:
            raise BundleError(
                f"the archive of layer {archive.layer} has {archive.size} bytes: S3 copies {LARGEST_COPY}"
            )
        if self.blob_exists(namespace, archive.digest, archive.size):
            return
        staged = layout.staging_prefix(self._settings.prefix, namespace, key, job) + name
        tag = self._hash(staged, archive)
        try:
            self._copy(staged, layout.blob_object(self._settings.prefix, namespace, archive.digest), tag)
        except StoreError as error:
            if code_of(error.__cause__) == "PreconditionFailed":
                raise DigestMismatchError(f"{staged} was replaced after it was hashed; nothing is published") from error
            raise

    def _hash(self, name: str, archive: Archive) -> str:
        """The ETag of the object whose bytes are ``archive``'s."""
        until = self._retries.clock() + self._seconds + archive.size / SLOWEST_BYTES_PER_SECOND

        def once(s3: S3Client) -> str:
            answer = s3.get_object(Bucket=self._settings.bucket, Key=name)
            digest = hashlib.sha256()
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] != archive.size:
                    raise DigestMismatchError(f"{name} has {answer['ContentLength']} bytes, not {archive.size}")
                for chunk in self._chunks(body, name, until):
                    digest.update(chunk)
            if digest.hexdigest() != archive.digest:
                raise DigestMismatchError(f"{name} has digest {digest.hexdigest()}, not {archive.digest}")
            return answer["ETag"]

        return self._try("hash", name, once, until)

    def _copy(self, source: str, target: str, tag: str) -> None:
        bucket = self._settings.bucket
        self._try(
            "copy to",
            target,
            lambda s3: s3.copy_object(
                Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": source}, CopySourceIfMatch=tag
            ),
        )

    def _list(self, prefix: str, until: float | None = None) -> dict[str, int]:
        """Bytes of the objects below ``prefix``, by name without it."""

        def once(s3: S3Client) -> dict[str, int]:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self._settings.bucket, Prefix=prefix)
            found = [item for page in pages for item in page.get("Contents", [])]
            return {item["Key"].removeprefix(prefix): item["Size"] for item in found}

        return self._try("list", prefix, once, until)

    def _read(self, name: str, limit: int, until: float | None = None) -> bytes | None:
        def once(s3: S3Client) -> bytes:
            answer = s3.get_object(Bucket=self._settings.bucket, Key=name)
            with closing(answer["Body"]) as body:
                data = body.read(limit + 1)
            if len(data) > limit:
                raise MalformedError(f"{name} has more than the {limit} bytes that are read of it")
            return data

        try:
            return self._try("read", name, once, until)
        except NotFoundError as error:
            if code_of(error.__cause__) == "NoSuchBucket":
                raise
            return None
