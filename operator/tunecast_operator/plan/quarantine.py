"""Which bundles no replica of a namespace starts from: two crashes blame one, the same crash without it clears it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunecast_operator.plan.crashes import Crash
from tunecast_operator.resources.quarantine import Case, Quarantine

LIMIT = 2  # crashes, of one replica or of several
LIFTS = 3  # a bundle that was cleared so often isn't quarantined again


def judge(known: Quarantine, crashes: Sequence[Crash]) -> Quarantine:
    """The quarantine after ``crashes``, which are of all pods that share a key. The same crashes change it once."""
    for crash in crashes:
        if crash.cold:
            known = _lift(known, crash)
    for manifest in sorted({crash.manifest for crash in crashes if not crash.cold} - {*known.digests}):
        known = _blame(known, manifest, crashes)
    return known


def _lift(known: Quarantine, crash: Crash) -> Quarantine:
    """A replica that started without the bundle ended as those did that started from it."""
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


def restored(known: Quarantine, caches: Sequence[Mapping[str, Any]]) -> Quarantine:
    """Also what StartupCaches say that are quarantined, in case somebody emptied the ConfigMap."""
    found = (cache.get("status") or {} for cache in caches)
    digests = (str(status.get("manifest", "")) for status in found if status.get("state") == "Quarantined")
    return known.also(digest for digest in digests if digest and not known.lifted(digest))


def outdated(quarantine: Quarantine, caches: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of the StartupCaches whose state doesn't say yet what the quarantine says."""
    found = ((str(cache["metadata"]["name"]), cache.get("status") or {}) for cache in caches)
    return tuple(name for name, status in found if _differs(quarantine, status))


def _differs(quarantine: Quarantine, status: Mapping[str, Any]) -> bool:
    listed = status.get("manifest") in quarantine.digests
    return listed if status.get("state") == "Ready" else status.get("state") == "Quarantined" and not listed
