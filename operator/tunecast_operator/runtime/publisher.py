"""The operator's side of the store: finds bundles, reads what attempts staged, and signs and publishes bundles."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from tunecast_core.bundle import layers
from tunecast_core.bundle.reader import inspect
from tunecast_core.errors import BundleError, MalformedError
from tunecast_core.hardware import is_name
from tunecast_core.key import MOUNT_PATH
from tunecast_core.records.codec import canonical, decode
from tunecast_core.records.job import PROGRESS, JobSettings, Progress, RankResult, archive_object, result_object
from tunecast_core.records.manifest import Archive, Manifest
from tunecast_core.records.seal import unseal
from tunecast_core.store.bucket import Store
from tunecast_core.store.presigned import life_of
from tunecast_core.trust.manifests import REFUSED, Place, counting_manifest
from tunecast_core.trust.signing import Signer
from tunecast_operator import times
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.engine import Engine, engine_of
from tunecast_operator.plan.tuning import Published
from tunecast_operator.resources.job import RENDEZVOUS_PORT, attempt_id, rendezvous_host
from tunecast_operator.resources.rank import secret_directories
from tunecast_operator.secrets import secret_paths, secret_variables

URL_SECONDS = 6 * 3600  # validity of upload URLs, if the credentials that sign them stay valid as long
RESULT_LIMIT = 2**20  # the proof becomes a part of status, and etcd limits objects to 1.5 MiB
BUNDLE_LIMIT = 64 * 2**30
FILES_LIMIT = 10**6


class Publisher:
    """Holds the private key. Every bundle that replicas trust was published by ``publish``."""

    def __init__(self, store: Store, signer: Signer, trusted: Mapping[str, str], former: Sequence[Signer] = ()) -> None:
        self._store, self._signer, self._trusted = store, signer, trusted
        self._former = former  # attempts that began with them may still be under way

    @property
    def trusted(self) -> dict[str, str]:
        return dict(self._trusted)

    @property
    def signer(self) -> str:
        return self._signer.signer

    def check(self) -> None:
        """Raises TunecastError with what to change, unless the store supports everything that an attempt needs."""
        self._store.check()

    def find(self, namespace: str, key: str, hardware: str = "") -> Published | None:
        """Returns the bundle of this key that has a trusted signature and all its archives.

        Args:
            namespace: namespace of the bundle.
            key: key of the bundle.
            hardware: hardware that the bundle was made on; empty for any.

        Raises:
            StoreError: the store didn't answer.
        """
        signers: dict[str, set[str]] = defaultdict(set)
        for made_on, signer in self._store.list_manifests(namespace, key):
            if hardware in {"", made_on} and signer in self._trusted:
                signers[made_on].add(signer)
        ours_first = sorted(signers, key=lambda made_on: (self.signer not in signers[made_on], made_on))
        places = (Place(namespace, key, made_on) for made_on in ours_first)
        return next((found for place in places if (found := self._published(place, signers[place.hardware]))), None)

    def _published(self, place: Place, signers: Collection[str]) -> Published | None:
        """Returns the most preferred bundle of ``signers``; None if it can't be used."""

        def read(signer: str) -> bytes | None:
            there = signer in signers
            return self._store.get_manifest(place.namespace, place.key, place.hardware, signer) if there else None

        try:
            found = counting_manifest(read, self._trusted, self.signer, place)
        except REFUSED:
            return None
        if found is None or not self._complete(place.namespace, found.manifest):
            return None
        return Published(found.manifest, found.digest, found.signer)

    def _complete(self, namespace: str, manifest: Manifest) -> bool:
        return all(self._store.blob_exists(namespace, a.digest, a.size) for a in manifest.archives)

    def settings(
        self, cache: dict[str, Any], spec: StartupCacheSpec, attempt: int, sweep: tuple[dict[str, Any], ...]
    ) -> JobSettings:
        """Returns the settings for the ranks of one attempt, with new presigned URLs."""
        namespace, job = cache["metadata"]["namespace"], attempt_id(cache, attempt)
        names = [PROGRESS, *(archive_object(layer.name) for layer in layers.LAYERS)]
        names += [result_object(rank) for rank in range(spec.ranks)]
        urls = self._store.presign_puts(namespace, spec.key, job, names, URL_SECONDS)
        engine = _engine(spec)
        volumes, mounts = spec.template["spec"].get("volumes") or (), engine.container.get("volumeMounts") or ()
        return JobSettings(
            attempt_id=job,
            key=spec.key,
            world_size=spec.ranks,
            rendezvous_host=rendezvous_host(cache, attempt),
            rendezvous_port=RENDEZVOUS_PORT,
            workload=spec.workload,
            mount_path=MOUNT_PATH,
            timeout_seconds=spec.timeout_seconds,
            excluded_layers=tuple(spec.exclude_layers),
            secret_variables=tuple(secret_variables(engine.env)),
            sweep=sweep,
            uploads=urls,
            transport=self._store.transport,
            secret_paths=(*secret_paths(volumes, mounts), *secret_directories(engine)),
            join_seconds=join_seconds(spec),
            wants_gpu=engine.wants_gpu,
            hardware=spec.hardware or "",
            token=self._signer.token(job),
        )

    def results(self, namespace: str, key: str, job: str, ranks: int) -> dict[int, RankResult]:
        """Returns the results that ranks staged. Those that can't be read or unsealed are ignored."""
        found = {}
        for rank in range(ranks):
            name = result_object(rank)
            try:
                data = self._store.read_staged(namespace, key, job, name, RESULT_LIMIT)
                result = decode(RankResult, self._unseal(job, name, data), f"{name} of {job}") if data else None
            except MalformedError:
                continue
            if result and result.rank == rank:
                found[rank] = result
        return found

    def _unseal(self, job: str, name: str, data: bytes) -> bytes:
        for signer in self._former:
            with suppress(MalformedError):
                return unseal(signer.token(job), name, data)
        return unseal(self._signer.token(job), name, data)

    def progress(self, namespace: str, key: str, job: str) -> Progress | None:
        try:
            data = self._store.read_staged(namespace, key, job, PROGRESS, RESULT_LIMIT)
            return decode(Progress, data, f"the progress of {job}") if data else None
        except MalformedError:
            return None

    def publish(
        self, cache: dict[str, Any], spec: StartupCacheSpec, attempt: int, result: RankResult, now: datetime
    ) -> None:
        """Publishes the staged archives, then writes the signed manifest unless there is one already.

        Raises:
            BundleError: the staged archives differ from rank 0's list, or no init container could install them.
            MalformedError: an archive can't be read.
            StoreError: the store failed; publishing again is safe.
        """
        namespace, job = cache["metadata"]["namespace"], attempt_id(cache, attempt)
        check_archives(result.archives, job)
        for archive in result.archives:
            inspected = functools.partial(inspect, expected=archive)
            self._store.publish(namespace, spec.key, job, archive_object(archive.layer), archive, inspected)
        if result.proof is None or result.provenance is None:
            raise BundleError(f"rank 0 of {job} staged no proof: nothing is published")
        manifest = Manifest(
            namespace=namespace,
            key=spec.key,
            key_version=spec.key_version,
            attempt_id=job,
            engine_image=str(_engine(spec).container.get("image", "")),
            created=times.text(now),
            archives=result.archives,
            environment=check_environment(result.environment, job),
            notes=result.notes,
            proof=result.proof,
            provenance=result.provenance,
            hardware=check_hardware(result.provenance.hardware, spec.hardware, job),
        )
        envelope = self._signer.sign(canonical(manifest))
        place = Place(namespace, spec.key, manifest.hardware)
        name = (place.namespace, place.key, place.hardware, self.signer)
        if not self._store.put_manifest(*name, envelope) and not self._published(place, {self.signer}):
            self._store.delete_manifest(*name)  # altered, or its archives are gone
            self._store.put_manifest(*name, envelope)

    def clean(self, namespace: str, key: str, job: str) -> None:
        self._store.delete_staged(namespace, key, job)

    def clean_all(self, namespace: str, key: str, uid: str) -> None:
        """Removes everything that the attempts of one StartupCache staged."""
        self._store.delete_all_staged(namespace, key, uid)

    def clean_orphans(self, namespace: str, living: set[str]) -> None:
        """Removes staged objects of StartupCaches that are gone. ``living`` has the UIDs of those that exist."""
        for key, job in self._store.staged_attempts(namespace):
            if job.rpartition("-")[0] not in living:
                self._store.delete_staged(namespace, key, job)


def _engine(spec: StartupCacheSpec) -> Engine:
    return engine_of(spec.template, spec.engine)


def renewal_seconds(settings: JobSettings) -> float:
    """Returns after how long URLs are renewed: a third of their validity, so that the operator may be down for long."""
    lives = (life_of(url) for url in settings.uploads.values())
    return min((life for life in lives if life is not None), default=URL_SECONDS) / 3


def join_seconds(spec: StartupCacheSpec) -> float:
    """Returns how long ranks wait for each other: longer than the operator waits for all ranks to run."""
    return max(60.0, spec.queue_timeout_seconds) + 60.0


def check_archives(archives: tuple[Archive, ...], job: str) -> None:
    """Raises BundleError if rank 0's list of archives can't be a bundle."""
    names = [archive.layer for archive in archives]
    if not names or len(set(names)) != len(names) or not set(names) <= layers.BY_NAME.keys():
        raise BundleError(f"{job} staged no bundle: its layers are {names}")
    if (
        any(a.size < 0 or a.unpacked < 0 or a.files < 1 for a in archives)
        or max(sum(a.size for a in archives), sum(a.unpacked for a in archives)) > BUNDLE_LIMIT
        or sum(a.files for a in archives) > FILES_LIMIT
    ):
        raise BundleError(f"{job} staged archives of impossible sizes")


def check_hardware(name: str, wanted: str | None, job: str) -> str:
    """Raises BundleError unless a rank's hardware is a valid name, and the one that was asked for."""
    if not is_name(name):
        raise BundleError(f"{job} names its hardware {name[:64]!r}, which is not a valid name: nothing is published")
    if wanted and name != wanted:
        raise BundleError(f"{job} ran on {name}, and was to tune for {wanted}: nothing is published")
    return name


def check_environment(environment: Mapping[str, str], job: str) -> dict[str, str]:
    """Returns the variables that a bundle needs. A rank may ask only for known variables with known values."""
    allowed = layers.on_demand(MOUNT_PATH)
    if not environment.items() <= allowed.items():
        raise BundleError(
            f"{job} asks for the environment {sorted(environment)}, of which only {sorted(allowed)} is allowed"
        )
    return dict(environment)
