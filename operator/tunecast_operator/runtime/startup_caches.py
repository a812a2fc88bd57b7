"""The StartupCaches of the cluster, kept in memory by a watch."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunecast_operator.api.startup_cache import StartupCache, startup_cache
from tunecast_operator.runtime.cluster import STARTUP_CACHE, Cluster
from tunecast_operator.runtime.informer import Informer, Object

Listener = Callable[[StartupCache | None, StartupCache | None], None]


_METADATA = ("namespace", "name", "resourceVersion", "creationTimestamp", "deletionTimestamp")
_SPEC = ("key", "hardware")
_STATUS = ("state", "conditions", "job", "queuePosition", "requeues")


class StartupCaches:
    """Keeps what the others have to know of each StartupCache, and not its pod template and its proof. Thread-safe."""

    def __init__(self, cluster: Cluster, namespaces: Sequence[str] = ()) -> None:
        self._namespaces = tuple(namespaces) or ("",)
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], StartupCache] = {}
        self._keys: Counter[tuple[str, str]] = Counter()
        self._listeners: list[Listener] = []
        self._informer = Informer(cluster, STARTUP_CACHE, namespaces, transform=_trimmed, changed=self._changed)

    def subscribe(self, listener: Listener) -> None:
        """Calls ``listener`` with each StartupCache before and after a change; None if it doesn't exist then."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Starts to watch."""
        self._informer.start()

    @property
    def synced(self) -> bool:
        """Whether all StartupCaches have been listed at least once."""
        return self._informer.synced

    def refresh(self) -> None:
        """Lists once, without watching."""
        for namespace in self._namespaces:
            self._informer.relist(namespace)

    def list(self) -> list[StartupCache]:
        """Returns all StartupCaches, with the parts of their status by which slots are given."""
        with self._lock:
            return [*self._known.values()]

    def has_key(self, namespace: str, key: str) -> bool:
        """Whether a StartupCache of the namespace has this key."""
        with self._lock:
            return self._keys[namespace, key] > 0

    def _changed(self, old: Object | None, new: Object | None) -> None:
        before = startup_cache(old) if old is not None else None
        after = startup_cache(new) if new is not None else None
        with self._lock:
            if before:
                self._known.pop(before.identity, None)
                self._keys[before.namespace, before.key] -= 1
            if after:
                self._known[after.identity] = after
                self._keys[after.namespace, after.key] += 1
            self._keys = +self._keys
        for listener in self._listeners:
            listener(before, after)


def _trimmed(item: Object) -> Object:
    return {
        "kind": STARTUP_CACHE.name,
        "metadata": _only(item["metadata"], _METADATA),
        "spec": _only(item["spec"], _SPEC),
        "status": _only(item.get("status") or {}, _STATUS),
    }


def _only(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found}
