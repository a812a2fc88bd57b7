"""From the bucket to the mount path: all layers of a bundle that can be believed, or none."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tunecast_cache import report
from tunecast_cache.bundle import install
from tunecast_cache.errors import AccessDeniedError, StoreUnavailableError
from tunecast_cache.manifest import Archive
from tunecast_cache.report import InitReport
from tunecast_cache.store import Store
from tunecast_cache.trust import Trust
from tunecast_init.belief import Believed, believe
from tunecast_init.place import clear
from tunecast_init.settings import Settings
from tunecast_init.trust import RefusedError

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
        RefusedError: there is none that can be believed, or the deadline is over.
        TunecastError: store, archives or file system failed.
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
        believed = find(settings, trust, store, until)
    wanted = [archive for archive in believed.manifest.archives if settings.wants(archive)]
    with tempfile.TemporaryDirectory(dir=settings.mount_path, prefix=WORK) as work:
        files = [(archive, Path(work) / archive.layer) for archive in wanted]
        with phases.of("fetch"):
            store.download(settings.namespace, files, until)
        with phases.of("unpack"):
            install([(path, archive) for archive, path in files], settings.mount_path)
    return _report(believed, wanted, phases)


def find(settings: Settings, trust: Trust, store: Store, until: float) -> Believed:
    """The first signer's manifest for this node's hardware that can be believed, the operator's before all others'.

    Raises:
        RefusedError: there is none, or the first one is quarantined.
    """
    refused: RefusedError | None = None
    for signer in sorted(trust.keys, key=lambda name: (name != trust.signer, name)):
        envelope = store.get_manifest(settings.namespace, settings.key, settings.hardware.name, signer, until)
        if envelope is None:
            continue
        try:
            return believe(envelope, trust, settings.namespace, settings.key, settings.hardware.name)
        except RefusedError as error:
            if error.reason == report.QUARANTINED:
                raise  # the operator means this key: it knows of no other bundle
            refused = error
    raise refused or _nothing_published(settings, store, until)


def _nothing_published(settings: Settings, store: Store, until: float) -> RefusedError:
    """Tells a key without any bundle from one whose bundles were made on other hardware."""
    what, here = f"{settings.namespace}/{settings.key}", settings.hardware
    try:
        others = sorted({hardware for hardware, _ in store.list_manifests(settings.namespace, settings.key, until)})
    except AccessDeniedError:  # it may read objects, but not list them
        others = []
    if not others:
        return RefusedError(report.NO_MANIFEST, f"nothing is published for {what} yet")
    node = f"{here.name} ({here.problem})" if here.problem else here.name
    text = f"bundles of {what} were made on {', '.join(others)}, and this node is {node}; the operator tunes for it"
    return RefusedError(report.NO_BUNDLE_FOR_HARDWARE, text)


def _report(believed: Believed, archives: list[Archive], phases: Phases) -> InitReport:
    return InitReport(
        result="Hit" if archives else "Cold",
        reason=report.INSTALLED if archives else report.NOTHING_WANTED,
        message=f"{sum(a.files for a in archives)} files of {len(archives)} layers are in place",
        key=believed.manifest.key,
        manifest=believed.digest,
        bytes=sum(archive.size for archive in archives),
        seconds=phases.total(),
        layers=tuple(archive.layer for archive in archives),
        hardware=believed.manifest.hardware,
    )
