"""Fetches the bundle for this pod from the bucket and installs it in the mount path: all of its layers, or none."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tunecast_core.bundle.pack import install
from tunecast_core.errors import AccessDeniedError, StoreError, StoreUnavailableError
from tunecast_core.hardware import Hardware, may_be_on
from tunecast_core.records import report
from tunecast_core.records.manifest import Archive
from tunecast_core.records.report import InitReport
from tunecast_core.store.bucket import Store
from tunecast_core.store.mesh import advice
from tunecast_core.store.s3 import unreachable
from tunecast_core.trust.manifests import Place, VerifiedManifest, counting_manifest
from tunecast_core.trust.settings import Trust
from tunecast_init.install import clear
from tunecast_init.settings import Settings
from tunecast_init.trust import RefusedError

BLOCK = 4096  # bytes that a file takes on disk beyond its content, at most
WORK = ".tunecast-fetch-"  # below the mount path, since no other directory is writable


class Phases:
    """Measures the seconds of each phase."""

    def __init__(self, clock: Callable[[], float], started: float) -> None:
        self._clock, self._started = clock, started
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        begun = self._clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - begun

    def total(self) -> dict[str, float]:
        return {name: round(s, 3) for name, s in {**self.seconds, "total": self._clock() - self._started}.items()}


def fetch(settings: Settings, trust: Trust, phases: Phases, until: float) -> InitReport:
    """Installs the bundle of ``settings.key`` in the mount path.

    Raises:
        RefusedError: there is no bundle for this pod, or the deadline passed.
        TunecastError: the manifest can't be verified, or the store, an archive or the file system failed.
    """
    with phases.of("clear"):
        clear(settings.mount_path)
    store = Store(trust.store)
    try:
        return _fetch(settings, trust, store, phases, until)
    except StoreUnavailableError as error:
        if time.monotonic() < until:
            raise
        raise RefusedError(report.DEADLINE_EXCEEDED, str(error)) from error


def _fetch(settings: Settings, trust: Trust, store: Store, phases: Phases, until: float) -> InitReport:
    with phases.of("manifest"):
        found = _find_past_a_mesh(settings, trust, store, until)
    wanted = [archive for archive in found.manifest.archives if settings.wants(archive)]
    _check_room(settings, wanted)
    with tempfile.TemporaryDirectory(dir=settings.mount_path, prefix=WORK) as work:
        files = [(archive, Path(work) / archive.layer) for archive in wanted]
        with phases.of("fetch"):
            store.download(settings.namespace, files, until)
        with phases.of("unpack"):
            install([(path, archive) for archive, path in files], settings.mount_path)
    return _report(settings.hardware, found, wanted, phases)


def _check_room(settings: Settings, wanted: Sequence[Archive]) -> None:
    """Checks that the disk has room. The kubelet evicts a pod that exceeds its limit, and then its replacement too.

    Raises:
        RefusedError: the archives and their unpacked files don't fit together.
    """
    needed = sum(archive.size + archive.unpacked + archive.files * BLOCK for archive in wanted)
    if settings.storage_limit is not None and needed > settings.storage_limit:
        limit = f"the pod may use {_mebibytes(settings.storage_limit)} of ephemeral storage"
        hint = "raise limits.ephemeral-storage of the engine's container, or exclude layers (spec.cache.layers.exclude)"
        raise RefusedError(report.NO_ROOM, f"the bundle needs {_mebibytes(needed)}, and {limit}: {hint}")
    free = shutil.disk_usage(settings.mount_path).free
    if needed > free:
        raise RefusedError(
            report.NO_ROOM,
            f"the bundle needs {_mebibytes(needed)}, and {_mebibytes(free)} are free on the node: "
            "set requests.ephemeral-storage of the engine's container, so that pods go where there is room",
        )


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _find_past_a_mesh(settings: Settings, trust: Trust, store: Store, until: float) -> VerifiedManifest:
    """Makes the first requests to the store. A mesh that blocks init containers shows up here."""
    try:
        return find(settings, trust, store, until)
    except StoreError as error:
        if settings.mesh is None or not unreachable(error):
            raise
        raise RefusedError(report.BLOCKED_BY_MESH, f"{error}; {advice(settings.mesh, trust.store.endpoint)}") from error


def find(settings: Settings, trust: Trust, store: Store, until: float) -> VerifiedManifest:
    """Finds the manifest for this node's hardware.

    A node that hides its GPU uses the key's only manifest for its CPU architecture, if there is exactly one. The GPU
    may be another one, but code for another CPU architecture would crash the engine.

    Raises:
        RefusedError: there is no manifest, or the manifest is quarantined.
        SignatureError, WrongKeyError, MalformedError: there are manifests, but none can be verified.
    """
    what, here = f"{settings.namespace}/{settings.key}", settings.hardware
    if found := _of_hardware(settings, trust, store, here.name, until):
        return found
    others = _published(settings, store, until)
    fitting = [name for name in others if may_be_on(name)] if here.hidden else []
    if len(fitting) == 1 and (found := _of_hardware(settings, trust, store, fitting[0], until)):
        return found
    if not others:
        raise RefusedError(report.NO_MANIFEST, f"nothing is published for {what} yet")
    text = f"bundles of {what} were made on {', '.join(others)}, and this node is {here.name}"
    raise RefusedError(report.NO_BUNDLE_FOR_HARDWARE, f"{text}{_advice(here)}")


def _advice(here: Hardware) -> str:
    if not here.problem:
        return ": it is tuned for within spec.tuning.hardwareLimit"
    return f", since {here.problem}: select nodes by the label nvidia.com/gpu.product, which names it too"


def _published(settings: Settings, store: Store, until: float) -> list[str]:
    """Returns the hardware that the key has bundles for, or nothing if the credentials may not list objects."""
    try:
        return sorted({hardware for hardware, _ in store.list_manifests(settings.namespace, settings.key, until)})
    except AccessDeniedError:
        return []


def _of_hardware(
    settings: Settings, trust: Trust, store: Store, hardware: str, until: float
) -> VerifiedManifest | None:
    """Returns the manifest in effect for ``hardware``, or None if there is none."""

    def read(signer: str) -> bytes | None:
        return store.get_manifest(settings.namespace, settings.key, hardware, signer, until)

    place = Place(settings.namespace, settings.key, hardware)
    found = counting_manifest(read, trust.keys, trust.signer, place)
    if found and found.digest in trust.quarantined:
        text = f"the manifest {found.digest} is quarantined in the trust ConfigMap"
        raise RefusedError(report.QUARANTINED, text, found.digest)
    return found


def _report(here: Hardware, found: VerifiedManifest, archives: list[Archive], phases: Phases) -> InitReport:
    made_on = found.manifest.hardware
    unchecked = f"; they were made on {made_on}, and {here.problem}" if made_on != here.name else ""
    return InitReport(
        result="Hit" if archives else "Cold",
        reason=report.INSTALLED if archives else report.NOTHING_WANTED,
        message=f"{sum(a.files for a in archives)} files of {len(archives)} layers are installed{unchecked}",
        key=found.manifest.key,
        manifest=found.digest,
        bytes=sum(archive.size for archive in archives),
        seconds=phases.total(),
        layers=tuple(archive.layer for archive in archives),
        hardware=here.name,
        bundle_hardware=made_on,
    )
