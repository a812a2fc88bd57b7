"""From the bucket to the mount path: all layers of the bundle that counts, or none."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tunecast_core.bundle.pack import install
from tunecast_core.errors import AccessDeniedError, StoreError, StoreUnavailableError
from tunecast_core.hardware import Hardware
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

BLOCK = 4096  # what a file takes beyond its bytes, at the most
WORK = ".tunecast-fetch-"  # below the mount path: the only place that is writable


class Phases:
    """Seconds by phase."""

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
    """Installs the bundle of ``settings.key``; what is installed is in the page cache, since it was just written.

    Raises:
        RefusedError: there is no bundle for this pod, or the deadline is over.
        TunecastError: the manifest can't be verified, or store, archives or file system failed.
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
    return _report(found, wanted, phases)


def _check_room(settings: Settings, wanted: Sequence[Archive]) -> None:
    """The kubelet evicts a pod that takes too much, and the one in its place would do the same again.

    Raises:
        RefusedError: there is no room for the archives and their files at once.
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
    """The first word with the store: a mesh that lets no init container through shows here."""
    try:
        return find(settings, trust, store, until)
    except StoreError as error:
        if settings.mesh is None or not unreachable(error):
            raise
        raise RefusedError(report.BLOCKED_BY_MESH, f"{error}; {advice(settings.mesh, trust.store.endpoint)}") from error


def find(settings: Settings, trust: Trust, store: Store, until: float) -> VerifiedManifest:
    """The manifest for this node's hardware. A node that shows no GPU takes the only one that there is.

    Raises:
        RefusedError: there is none, or it is quarantined.
        SignatureError, WrongKeyError, MalformedError: there are manifests, and none can be verified.
    """
    what, here = f"{settings.namespace}/{settings.key}", settings.hardware
    if found := _of_hardware(settings, trust, store, here.name, until):
        return found
    others = _published(settings, store, until)
    if here.hidden and len(others) == 1 and (found := _of_hardware(settings, trust, store, others[0], until)):
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
    """Hardware that bundles of the key were made on; none where the store lets objects be read, but not listed."""
    try:
        return sorted({hardware for hardware, _ in store.list_manifests(settings.namespace, settings.key, until)})
    except AccessDeniedError:
        return []


def _of_hardware(
    settings: Settings, trust: Trust, store: Store, hardware: str, until: float
) -> VerifiedManifest | None:
    """The manifest that counts for ``hardware``; None where there is none."""

    def read(signer: str) -> bytes | None:
        return store.get_manifest(settings.namespace, settings.key, hardware, signer, until)

    place = Place(settings.namespace, settings.key, hardware)
    found = counting_manifest(read, trust.keys, trust.signer, place)
    if found and found.digest in trust.quarantined:
        text = f"the manifest {found.digest} is quarantined in the trust ConfigMap"
        raise RefusedError(report.QUARANTINED, text, found.digest)
    return found


def _report(found: VerifiedManifest, archives: list[Archive], phases: Phases) -> InitReport:
    return InitReport(
        result="Hit" if archives else "Cold",
        reason=report.INSTALLED if archives else report.NOTHING_WANTED,
        message=f"{sum(a.files for a in archives)} files of {len(archives)} layers are in place",
        key=found.manifest.key,
        manifest=found.digest,
        bytes=sum(archive.size for archive in archives),
        seconds=phases.total(),
        layers=tuple(archive.layer for archive in archives),
        hardware=found.manifest.hardware,
    )
