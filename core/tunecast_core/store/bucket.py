"""All operations of the operator and init containers on the bucket. The module ``layout`` has the object names."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tunecast_core.bundle import layout
from tunecast_core.bundle.hashing import Inspect, exhaust
from tunecast_core.errors import (
    BundleError,
    DigestMismatchError,
    StoreError,
)
from tunecast_core.records.manifest import Archive
from tunecast_core.store.breaker import Breaker
from tunecast_core.store.objects import PRECONDITION_FAILED, RANGE, BucketObjects, Part
from tunecast_core.store.retry import Retries
from tunecast_core.store.s3 import CONNECTIONS, code_of
from tunecast_core.store.transport import Transport
from tunecast_core.trust.settings import StoreSettings

LARGEST_COPY = 5 * 2**30  # limit of S3 for one CopyObject
MANIFEST_LIMIT = 8 * 2**20


class Store:
    """The bucket of one installation. Thread-safe.

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
        self,
        settings: StoreSettings,
        *,
        seconds: float = 60.0,
        retries: Retries | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._prefix = settings.prefix
        self._objects = BucketObjects(settings, seconds, retries or Retries(), breaker)

    @property
    def transport(self) -> Transport:
        """How requests reach the store."""
        return self._objects.transport

    def close(self) -> None:
        """Closes the connections."""
        self._objects.close()

    def check(self) -> None:
        """Tries every operation that tuning and replicas need, on temporary objects.

        Raises:
            TunecastError: an operation failed; the message states what to change.
        """
        staged, created, copied = (layout.check_object(self._prefix, uuid.uuid4().hex) for _ in range(3))
        data = uuid.uuid4().bytes
        self._objects.upload(staged, data)
        with self._objects.deleting(staged, created, copied):
            self._objects.check_ranges(staged)
            self._objects.create(created, data)
            self._take_over(staged, copied, Archive("", hashlib.sha256(data).hexdigest(), len(data), 0, 1))

    def get_manifest(
        self, namespace: str, key: str, hardware: str, signer: str, until: float | None = None
    ) -> bytes | None:
        """Returns the envelope that ``signer`` published for ``key`` and ``hardware``, or None."""
        name = layout.manifest_object(self._prefix, namespace, key, hardware, signer)
        return self._objects.read(name, MANIFEST_LIMIT, until)

    def list_manifests(self, namespace: str, key: str, until: float | None = None) -> list[tuple[str, str]]:
        """Returns the hardware and the signer of each manifest that is published for ``key``."""
        names = self._objects.sizes(layout.manifests_prefix(self._prefix, namespace, key), until)
        parts = (name.removesuffix(".json").split("/") for name in names if name.endswith(".json"))
        return sorted((part[0], part[1]) for part in parts if len(part) == 2)  # noqa: PLR2004 - hardware and signer

    def put_manifest(self, namespace: str, key: str, hardware: str, signer: str, envelope: bytes) -> bool:
        """Publishes an envelope. Returns False if one exists already, which is kept."""
        name = layout.manifest_object(self._prefix, namespace, key, hardware, signer)
        return self._objects.create(name, envelope)

    def blob_exists(self, namespace: str, digest: str, size: int) -> bool:
        """Whether the archive exists with its full size."""
        return self._objects.size(layout.blob_object(self._prefix, namespace, digest)) == size

    def download(self, namespace: str, archives: Sequence[tuple[Archive, Path]], until: float | None = None) -> None:
        """Downloads archives to files in parallel ranges. ``pack.install`` verifies their digests.

        Raises:
            NotFoundError: an archive doesn't exist.
            DigestMismatchError: an object has another size than its archive.
        """
        limit = self._objects.limit(until)
        with ExitStack() as files, ThreadPoolExecutor(CONNECTIONS) as pool:
            parts = []
            for archive, path in archives:
                descriptor = files.enter_context(path.open("wb")).fileno()
                name = layout.blob_object(self._prefix, namespace, archive.digest)
                parts += [Part(name, start, archive.size, descriptor) for start in range(0, archive.size, RANGE)]
            waiting = [pool.submit(self._objects.fetch, part, limit) for part in parts]
            try:
                for done in waiting:
                    done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def presign_puts(
        self, namespace: str, key: str, attempt_id: str, names: Iterable[str], seconds: int
    ) -> dict[str, str]:
        """Returns presigned URLs that write staged objects, by name.

        The URLs expire after ``seconds``, or with the credentials that sign them. Fresh credentials are fetched first.
        """
        prefix = layout.staging_prefix(self._prefix, namespace, key, attempt_id)
        return self._objects.presign_puts(prefix, names, seconds)

    def staged(self, namespace: str, key: str, attempt_id: str) -> dict[str, int]:
        """Returns the sizes in bytes of the objects that an attempt staged, by name."""
        prefix = layout.staging_prefix(self._prefix, namespace, key, attempt_id)
        return self._objects.sizes(prefix)

    def staged_attempts(self, namespace: str) -> list[tuple[str, str]]:
        """Returns the key and the ID of each attempt that has staged objects."""
        names = self._objects.sizes(layout.staging_root(self._prefix, namespace))
        return sorted(
            {(key, attempt_id) for key, attempt_id, *_ in (name.split("/", 2) for name in names if name.count("/") > 1)}
        )

    def read_staged(self, namespace: str, key: str, attempt_id: str, name: str, limit: int) -> bytes | None:
        """Returns a staged object, or None if it doesn't exist. Raises MalformedError beyond ``limit`` bytes."""
        return self._objects.read(layout.staging_prefix(self._prefix, namespace, key, attempt_id) + name, limit)

    def delete_staged(self, namespace: str, key: str, attempt_id: str) -> None:
        """Deletes all objects that an attempt staged."""
        prefix = layout.staging_prefix(self._prefix, namespace, key, attempt_id)
        self._objects.delete_all(prefix + name for name in self._objects.sizes(prefix))

    def delete_all_staged(self, namespace: str, key: str, uid: str) -> None:
        """Deletes all objects that the attempts of one StartupCache staged."""
        prefix = layout.staging_of(self._prefix, namespace, key, uid)
        self._objects.delete_all(prefix + name for name in self._objects.sizes(prefix))

    def delete_manifest(self, namespace: str, key: str, hardware: str, signer: str) -> None:
        """Deletes a manifest that can't be used, so that another one can be published."""
        self._objects.delete(layout.manifest_object(self._prefix, namespace, key, hardware, signer))

    def publish(
        self, namespace: str, key: str, attempt_id: str, name: str, archive: Archive, inspect: Inspect = exhaust
    ) -> None:
        """Hashes a staged archive and copies it to its blob. A replacement between the two is detected.

        ``inspect`` reads the archive's bytes, and raises BundleError or MalformedError if it must not be published.

        Raises:
            NotFoundError: no object of that name is staged.
            DigestMismatchError: the staged object isn't ``archive``.
            BundleError: the archive is larger than S3 can copy at once.
        """
        if archive.size > LARGEST_COPY:
            raise BundleError(
                f"the archive of layer {archive.layer} has {archive.size} bytes: S3 copies at most {LARGEST_COPY}"
            )
        blob = layout.blob_object(self._prefix, namespace, archive.digest)
        if self.blob_exists(namespace, archive.digest, archive.size) and self._intact(blob, archive, inspect):
            return
        staged = layout.staging_prefix(self._prefix, namespace, key, attempt_id) + name
        self._take_over(staged, blob, archive, inspect)

    def _intact(self, blob: str, archive: Archive, inspect: Inspect) -> bool:
        """Whether an existing blob holds ``archive``. The blob may be of another writer; a wrong one is deleted."""
        try:
            self._objects.hash_archive(blob, archive, inspect)
        except DigestMismatchError:
            self._objects.delete(blob)
            return False
        return True

    def _take_over(self, staged: str, blob: str, archive: Archive, inspect: Inspect = exhaust) -> None:
        tag = self._objects.hash_archive(staged, archive, inspect)
        try:
            copied = self._objects.copy(staged, blob, tag, archive.size)
        except StoreError as error:
            if code_of(error.__cause__) == PRECONDITION_FAILED:
                raise DigestMismatchError(f"{staged} was replaced after it was hashed; nothing is published") from error
            raise
        if copied == tag:
            return
        try:  # the store ignored the condition, as Ceph does, or it encrypts, so that a copy has another ETag
            self._objects.hash_archive(blob, archive)
        except DigestMismatchError:
            self._objects.delete(blob)
            raise
