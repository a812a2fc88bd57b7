"""Remembers crashes of pods that are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from tunecast_operator.plan.crashes import Crash
from tunecast_operator.pods import Pod

KEPT = timedelta(hours=1)


class CrashMemory:
    """Keeps the evidence of a pod for an hour after the pod is gone.

    Controllers such as LeaderWorkerSet replace a pod as soon as one of its containers restarts, so that no pod ever
    shows two crashes. An operator that restarts begins without memory.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._known: dict[tuple[str, str], dict[str, tuple[datetime, Crash]]] = {}  # by the uid of the pod

    def with_gone(self, namespace: str, key: str, pods: Iterable[Pod], found: Sequence[Crash]) -> list[Crash]:
        """Returns ``found`` and the crashes of earlier pods of this namespace and key.

        Args:
            namespace: namespace of the pods.
            key: their key.
            pods: the adopted pods that exist. If one of them no longer shows a crash, that crash is forgotten.
            found: crashes of all pods with the key. Those of ``pods`` are remembered.
        """
        now, present = self._now(), {str(pod["metadata"]["uid"]) for pod in pods}
        known = self._known.pop((namespace, key), {})
        gone = {uid: seen for uid, seen in known.items() if uid not in present and now - seen[0] < KEPT}
        if kept := gone | {crash.uid: (now, crash) for crash in found if crash.uid in present}:
            self._known[namespace, key] = kept
        return [*found, *(crash for _, crash in gone.values())]
