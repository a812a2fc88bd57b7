"""The operator's side of the store: look bundles up, receive what a Job staged, sign it and publish it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from tunecast_cache import layers
from tunecast_cache.errors import BundleError, MalformedError, SignatureError
from tunecast_cache.hardware import is_name
from tunecast_cache.job import PROGRESS, JobSettings, Progress, RankResult, archive_object, result_object
from tunecast_cache.key import MOUNT_PATH
from tunecast_cache.manifest import Archive, Manifest
from tunecast_cache.records import canonical, decode
from tunecast_cache.seal import unseal
from tunecast_cache.signing import Signer, verify
from tunecast_cache.store import Store
from tunecast_operator import times
from tunecast_operator.api.kernel_cache import KernelCacheSpec
from tunecast_operator.plan.tuning import Published
from tunecast_operator.resources.job import RENDEZVOUS_PORT, attempt_id, rendezvous_host

URL_SECONDS = 6 * 3600
RESULT_LIMIT = 2**20  # its proof becomes a status, of which etcd keeps 1.5 MiB
BUNDLE_LIMIT = 64 * 2**30
FILES_LIMIT = 10**6
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_?KEY", re.IGNORECASE)


class Publisher:
    """Holds the one private key; every bundle that a replica believes passed through ``publish``."""

    def __init__(self, store: Store, signer: Signer, trusted: Mapping[str, str], former: Sequence[Signer] = ()) -> None:
        self._store, self._signer, self._trusted = store, signer, trusted
        self._former = former  # their attempts may still be under way

    @property
    def trusted(self) -> dict[str, str]:
        return dict(self._trusted)

    @property
    def signer(self) -> str:
        return self._signer.signer

    def find(self, namespace: str, key: str, hardware: str = "") -> Published | None:
        """The bundle of this key whose signature counts and whose archives are all there.

        Args:
            namespace: of the bundle.
            key: of the bundle.
            hardware: that it was made on; any where it is empty.

        Raises:
            StoreError: the store didn't answer.
        """
        found = self._store.list_manifests(namespace, key)
        named = ((made_on, signer) for made_on, signer in found if signer in self._trusted)
        wanted = ((made_on, signer) for made_on, signer in named if hardware in {"", made_on})
        ours_first = sorted(wanted, key=lambda pair: (pair[1] != self._signer.signer, pair))
        return next((p for made_on, signer in ours_first if (p := self._read(namespace, key, made_on, signer))), None)

    def _read(self, namespace: str, key: str, hardware: str, signer: str) -> Published | None:
        """None where the object isn't one that we wrote, or its archives aren't all there."""
        try:
            envelope = self._store.get_manifest(namespace, key, hardware, signer)
            if envelope is None:
                return None
            payload, _ = verify(envelope, self._trusted)
            manifest = decode(Manifest, payload, f"the manifest of {namespace}/{key}")
        except (SignatureError, MalformedError):
            return None
        ours = (manifest.namespace, manifest.key, manifest.hardware) == (namespace, key, hardware)
        if not ours or not self._complete(namespace, manifest):
            return None
        return Published(manifest, hashlib.sha256(payload).hexdigest(), signer)

    def _complete(self, namespace: str, manifest: Manifest) -> bool:
        return all(self._store.blob_exists(namespace, a.digest, a.size) for a in manifest.archives)

    def settings(
        self, cache: dict[str, Any], spec: KernelCacheSpec, attempt: int, sweep: tuple[dict[str, Any], ...]
    ) -> JobSettings:
        """What the ranks of one attempt read, with fresh presigned URLs."""
        namespace, job = cache["metadata"]["namespace"], attempt_id(cache, attempt)
        names = [PROGRESS, *(archive_object(layer.name) for layer in layers.LAYERS)]
        names += [result_object(rank) for rank in range(spec.ranks)]
        urls = {name: self._store.presign_put(namespace, spec.key, job, name, URL_SECONDS) for name in names}
        return JobSettings(
            job=job,
            key=spec.key,
            world_size=spec.ranks,
            rendezvous_host=rendezvous_host(cache, attempt),
            rendezvous_port=RENDEZVOUS_PORT,
            workload=spec.workload,
            port=spec.engine.port,
            mount_path=MOUNT_PATH,
            timeout_seconds=spec.timeout_seconds,
            excluded_layers=tuple(spec.exclude_layers),
            secret_variables=tuple(secret_variables(spec.engine.env)),
            sweep=sweep,
            uploads=urls,
            secret_paths=tuple(secret_paths(spec.pod.volumes, spec.pod.volume_mounts)),
            token=self._signer.token(job),
        )

    def results(self, namespace: str, key: str, job: str, ranks: int) -> dict[int, RankResult]:
        """What ranks staged; what can't be read, or isn't sealed by a rank of this attempt, counts as none."""
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
        self, cache: dict[str, Any], spec: KernelCacheSpec, attempt: int, result: RankResult, now: datetime
    ) -> None:
        """Takes the staged archives over, then writes the signed manifest, unless one is there already.

        Raises:
            BundleError: what was staged isn't what rank 0 says, or what is in the manifest's place isn't one.
            StoreError: the store failed; publishing again is safe.
        """
        namespace, job = cache["metadata"]["namespace"], attempt_id(cache, attempt)
        check_archives(result.archives, job)
        for archive in result.archives:
            self._store.publish(namespace, spec.key, job, archive_object(archive.layer), archive)
        if result.proof is None or result.provenance is None:
            raise BundleError(f"rank 0 of {job} staged no proof: nothing is published")
        manifest = Manifest(
            namespace=namespace,
            key=spec.key,
            key_version=spec.key_version,
            job=job,
            engine_image=spec.engine.image,
            created=times.text(now),
            archives=result.archives,
            environment=check_environment(result.environment, job),
            notes=result.notes,
            proof=result.proof,
            provenance=result.provenance,
            hardware=check_hardware(result.provenance.hardware, job),
        )
        envelope = self._signer.sign(canonical(manifest))
        place = (namespace, spec.key, manifest.hardware, self._signer.signer)
        if not self._store.put_manifest(*place, envelope) and not self._read(*place):
            self._store.delete_manifest(*place)  # altered, or its archives are gone
            self._store.put_manifest(*place, envelope)

    def clean(self, namespace: str, key: str, job: str) -> None:
        self._store.delete_staged(namespace, key, job)

    def clean_orphans(self, namespace: str, living: set[str]) -> None:
        """Removes what attempts of KernelCaches staged that are gone; ``living`` holds the uids that aren't."""
        for key, job in self._store.staged_jobs(namespace):
            if job.rpartition("-")[0] not in living:
                self._store.delete_staged(namespace, key, job)


def check_archives(archives: tuple[Archive, ...], job: str) -> None:
    """Raises BundleError where rank 0's list can't be a bundle."""
    names = [archive.layer for archive in archives]
    if not names or len(set(names)) != len(names) or not set(names) <= layers.BY_NAME.keys():
        raise BundleError(f"{job} staged no bundle: its layers are {names}")
    if (
        any(a.size < 0 or a.unpacked < 0 or a.files < 1 for a in archives)
        or max(sum(a.size for a in archives), sum(a.unpacked for a in archives)) > BUNDLE_LIMIT
        or sum(a.files for a in archives) > FILES_LIMIT
    ):
        raise BundleError(f"{job} staged archives of impossible sizes")


def check_hardware(name: str, job: str) -> str:
    """Raises BundleError unless what a rank says is a name that can be part of an object's."""
    if not is_name(name):
        raise BundleError(f"{job} names its hardware {name[:64]!r}, which is no such name: nothing is published")
    return name


def check_environment(environment: Mapping[str, str], job: str) -> dict[str, str]:
    """A proof may ask for known variables with known values: nothing else that a rank says reaches a pod template."""
    allowed = layers.on_demand(MOUNT_PATH)
    if not environment.items() <= allowed.items():
        raise BundleError(
            f"{job} asks for the environment {sorted(environment)}, of which only {sorted(allowed)} is taken"
        )
    return dict(environment)


def secret_variables(env: list[dict[str, Any]]) -> list[str]:
    """Variables whose values must never be staged: from Secrets, or named like one."""
    from_secret = (v["name"] for v in env if "secretKeyRef" in (v.get("valueFrom") or {}))
    named_so = (v["name"] for v in env if "value" in v and _SECRET_NAME.search(v["name"]))
    return sorted({*from_secret, *named_so})


def secret_paths(volumes: list[dict[str, Any]], mounts: list[dict[str, Any]]) -> list[str]:
    """Where the engine's container has files of Secrets."""
    sources = {v["name"]: [v, *(v.get("projected") or {}).get("sources", ())] for v in volumes}
    secret = {name for name, parts in sources.items() if any("secret" in part for part in parts)}
    return sorted(mount["mountPath"] for mount in mounts if mount["name"] in secret)
