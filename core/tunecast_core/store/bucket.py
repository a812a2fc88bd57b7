"""All that Tunecast does in its bucket; ``layout`` has the names. Used by the operator and init containers."""

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

LARGEST_COPY = 5 * 2**30  # S3's own limit
MANIFEST_LIMIT = 8 * 2**20


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
        self._prefix = settings.prefix
        self._objects = BucketObjects(settings, seconds, retries or Retries(), breaker)

    @property
    def transport(self) -> Transport:
        """How requests get there."""
        return self._objects.transport

    def close(self) -> None:
        """Closes its connections."""
        self._objects.close()

    def check(self) -> None:
        """Does once all that tunings and replicas need, with objects of its own, which it deletes.

        Raises:
            TunecastError: the first thing that failed, and what to change.
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
        """The envelope that ``signer`` published for ``key`` and ``hardware``, or None."""
        name = layout.manifest_object(self._prefix, namespace, key, hardware, signer)
        return self._objects.read(name, MANIFEST_LIMIT, until)

    def list_manifests(self, namespace: str, key: str, until: float | None = None) -> list[tuple[str, str]]:
        """Hardware and signer of each manifest that was published for ``key``."""
        names = self._objects.sizes(layout.manifests_prefix(self._prefix, namespace, key), until)
        parts = (name.removesuffix(".json").split("/") for name in names if name.endswith(".json"))
        return sorted((part[0], part[1]) for part in parts if len(part) == 2)  # noqa: PLR2004 - hardware and signer

    def put_manifest(self, namespace: str, key: str, hardware: str, signer: str, envelope: bytes) -> bool:
        """Publishes an envelope; False where there is one already, which stays."""
        name = layout.manifest_object(self._prefix, namespace, key, hardware, signer)
        return self._objects.create(name, envelope)

    def blob_exists(self, namespace: str, digest: str, size: int) -> bool:
        """Whether the archive is there, whole."""
        return self._objects.size(layout.blob_object(self._prefix, namespace, digest)) == size

    def download(self, namespace: str, archives: Sequence[tuple[Archive, Path]], until: float | None = None) -> None:
        """Writes archives to files, all of them in parallel ranges. Their digests are for ``bundle.install`` to check.

        Raises:
            NotFoundError: one isn't there.
            DigestMismatchError: one has another size than the archive says.
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
        """URLs that write staged objects without credentials, by ``names``.

        They expire after ``seconds``, or with the credentials that sign them, which are fetched anew.
        """
        prefix = layout.staging_prefix(self._prefix, namespace, key, attempt_id)
        return self._objects.presign_puts(prefix, names, seconds)

    def staged(self, namespace: str, key: str, attempt_id: str) -> dict[str, int]:
        """Bytes of what an attempt staged, by name."""
        prefix = layout.staging_prefix(self._prefix, namespace, key, attempt_id)
        return self._objects.sizes(prefix)

    def staged_attempts(self, namespace: str) -> list[tuple[str, str]]:
        """Key and ID of each attempt that has staged objects."""
        names = self._objects.sizes(layout.staging_root(self._prefix, namespace))
        return sorted(
            {(key, attempt_id) for key, attempt_id, *_ in (name.split("/", 2) for name in names if name.count("/") > 1)}
        )

    def read_staged(self, namespace: str, key: str, attempt_id: str, name: str, limit: int) -> bytes | None:
        """A staged object, or None where there is none; MalformedError where it has more than ``limit`` bytes."""
        return self._objects.read(layout.staging_prefix(self._prefix, namespace, key, attempt_id) + name, limit)

    def delete_staged(self, namespace: str, key: str, attempt_id: str) -> None:
        """Removes all that an attempt staged."""
        prefix = layout.staging_prefix(self._prefix, namespace, key, attempt_id)
        self._objects.delete_all(prefix + name for name in self._objects.sizes(prefix))

    def delete_all_staged(self, namespace: str, key: str, uid: str) -> None:
        """Removes all that attempts of one StartupCache staged."""
        prefix = layout.staging_of(self._prefix, namespace, key, uid)
        self._objects.delete_all(prefix + name for name in self._objects.sizes(prefix))

    def delete_manifest(self, namespace: str, key: str, hardware: str, signer: str) -> None:
        """Removes a manifest that can't be used, so that another takes its place."""
        self._objects.delete(layout.manifest_object(self._prefix, namespace, key, hardware, signer))

    def publish(
        self, namespace: str, key: str, attempt_id: str, name: str, archive: Archive, inspect: Inspect = exhaust
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
        blob = layout.blob_object(self._prefix, namespace, archive.digest)
        if self.blob_exists(namespace, archive.digest, archive.size) and self._intact(blob, archive, inspect):
            return
        staged = layout.staging_prefix(self._prefix, namespace, key, attempt_id) + name
        self._take_over(staged, blob, archive, inspect)

    def _intact(self, blob: str, archive: Archive, inspect: Inspect) -> bool:
        """Whether a blob that is there holds ``archive``: who put it there isn't known."""
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
        try:  # the store read over the condition, as Ceph does; or it encrypts, and a copy has another tag
            self._objects.hash_archive(blob, archive)
        except DigestMismatchError:
            self._objects.delete(blob)
            raise
