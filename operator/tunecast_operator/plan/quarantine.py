"""Decides which bundles are quarantined: two crashes blame a bundle, and the same crash without it clears it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import State
from tunecast_operator.plan.crashes import Crash
from tunecast_operator.pods import Pod, deleting
from tunecast_operator.resources.quarantine import Case, Quarantine

LIMIT = 2  # crashes, of one replica or of several
LIFTS = 3  # a bundle that was cleared this many times isn't quarantined again


@dataclass(frozen=True, slots=True)
class Protection:
    """What protects replicas from a bundle that engines crash from.

    Attributes:
        quarantine: the quarantine to record in the namespace's trust ConfigMap.
        outdated_caches: StartupCaches whose state contradicts it.
        replace: pods to delete, because they would keep crashing with a quarantined bundle.
    """

    quarantine: Quarantine
    outdated_caches: tuple[str, ...]
    replace: tuple[Crash, ...]


def protect(
    known: Quarantine, caches: Sequence[StartupCache], crashes: Sequence[Crash], replaceable: Iterable[Pod]
) -> Protection:
    """Judges the bundles from which engines crashed.

    Args:
        known: the quarantine that the trust ConfigMap records.
        caches: StartupCaches of the namespace.
        crashes: crashes of all pods that share a key.
        replaceable: pods that may be deleted, because a controller replaces them.
    """
    quarantine = judge(restored(known, caches), crashes)
    uids = {pod["metadata"]["uid"] for pod in replaceable if not deleting(pod)}
    replace = (c for c in crashes if not c.cold and c.uid in uids and c.manifest in quarantine.digests)
    return Protection(quarantine, outdated(quarantine, caches), tuple(replace))


def judge(known: Quarantine, crashes: Sequence[Crash]) -> Quarantine:
    """Returns the quarantine after ``crashes`` of all pods that share a key. Judging the same ones again is safe."""
    for crash in crashes:
        if crash.cold:
            known = _lift(known, crash)
    for manifest in sorted({crash.manifest for crash in crashes if not crash.cold} - {*known.digests}):
        known = _blame(known, manifest, crashes)
    return known


def _lift(known: Quarantine, crash: Crash) -> Quarantine:
    """Lifts a quarantine if a replica crashed in the same way without the bundle."""
    case = known.cases.get(crash.manifest)
    if case is None or crash.failure not in case.blamed:
        return known
    digests = tuple(digest for digest in known.digests if digest != crash.manifest)
    lifted = Case(f"{crash}, and had started without the bundle", (), (*case.cleared, crash.failure))
    return Quarantine(digests, {**known.cases, crash.manifest: lifted})


def _blame(known: Quarantine, manifest: str, crashes: Sequence[Crash]) -> Quarantine:
    cleared = known.cases[manifest].cleared if manifest in known.cases else ()
    found = [c for c in crashes if c.manifest == manifest and not c.cold and c.failure not in cleared]
    if sum(crash.times for crash in found) < LIMIT or len(cleared) >= LIFTS:
        return known
    message = f"engines crashed as they started from this bundle: {'; '.join(str(crash) for crash in found[:3])}"
    case = Case(message, tuple(dict.fromkeys(crash.failure for crash in found)), cleared)
    return Quarantine(known.digests, {**known.cases, manifest: case}).also([manifest])


def restored(known: Quarantine, caches: Sequence[StartupCache]) -> Quarantine:
    """Adds the bundles of StartupCaches whose state is Quarantined, in case somebody emptied the ConfigMap."""
    digests = (cache.status.manifest or "" for cache in caches if cache.state == State.QUARANTINED)
    return known.also(digest for digest in digests if digest and not known.lifted(digest))


def outdated(quarantine: Quarantine, caches: Sequence[StartupCache]) -> tuple[str, ...]:
    """Returns names of StartupCaches whose state contradicts the quarantine."""
    return tuple(cache.name for cache in caches if _differs(quarantine, cache))


def _differs(quarantine: Quarantine, cache: StartupCache) -> bool:
    listed = cache.status.manifest in quarantine.digests
    return listed if cache.state == State.READY else cache.state == State.QUARANTINED and not listed
