"""Keeps a copy of the objects of one kind in memory, by listing and watching them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunecast_operator.runtime.cluster import Cluster, ClusterError, Kind, WatchExpiredError

log = logging.getLogger(__name__)
Object = Mapping[str, Any]
WATCH_SECONDS = 300  # after each watch, the objects are listed again, in case an event was missed
RETRY_SECONDS = 2.0  # minimum time between two lists


class Informer:
    """Holds the objects that match its selectors, with a thread for each namespace. Thread-safe."""

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        namespaces: Sequence[str] = (),
        *,
        labels: str = "",
        fields: str = "",
        changed: Callable[[Object | None, Object | None], None] = lambda _old, _new: None,
        transform: Callable[[Object], Object] = lambda item: item,
    ) -> None:
        """Calls ``changed`` with each object before and after a change; None if it doesn't exist then.

        Args:
            cluster: the API server.
            kind: kind of the objects.
            namespaces: their namespaces; empty for all.
            labels: label selector.
            fields: field selector.
            changed: must not block for long. An exception is logged, and other objects go on.
            transform: returns the parts of an object to keep, which include its names and resourceVersion.
        """
        self._cluster, self._kind, self._labels, self._fields = cluster, kind, labels, fields
        self._changed, self._transform = changed, transform
        self._namespaces = tuple(namespaces) or ("",)
        self._objects: dict[tuple[str, str], Object] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._listed: set[str] = set()

    @property
    def synced(self) -> bool:
        """Whether all objects have been listed at least once."""
        return self._listed == {*self._namespaces}

    def get(self, namespace: str, name: str) -> Object | None:
        """Returns the object of this name, or None if it isn't known."""
        with self._lock:
            return self._objects.get((namespace, name))

    def list(self) -> list[Object]:
        """Returns all objects."""
        with self._lock:
            return list(self._objects.values())

    def start(self) -> None:
        """Starts to list and watch."""
        for namespace in self._namespaces:
            name = f"informer-{self._kind.plural}-{namespace or 'all'}"
            threading.Thread(target=self._run, args=(namespace,), name=name, daemon=True).start()

    def stop(self) -> None:
        """Ends the threads. A thread that waits for an event ends after the event, or with the process."""
        self._stopped.set()

    def _run(self, namespace: str) -> None:
        while not self._stopped.is_set():
            begun = time.monotonic()
            try:
                self.list_and_watch(namespace)
            except WatchExpiredError as error:
                log.info("%s; listing again", error)
            except ClusterError as error:
                log.warning("%s; trying again", error)
            except Exception:
                log.exception("watching %s: a bug in Tunecast", self._kind.plural)
            # An API server that ends each watch at once must not be asked without a pause.
            self._stopped.wait(max(0.0, begun + RETRY_SECONDS - time.monotonic()))

    def list_and_watch(self, namespace: str, seconds: int = WATCH_SECONDS) -> None:
        """Lists the objects, then watches them for ``seconds``.

        Raises:
            ClusterError: the API server refused, or the connection broke.
        """
        version = self.relist(namespace)
        for kind, item in self._cluster.watch(self._kind, namespace, self._labels, self._fields, version, seconds):
            if self._stopped.is_set():
                return
            if kind in {"ADDED", "MODIFIED"}:
                self._put(item)
            elif kind == "DELETED":
                self._drop(_key(item))

    def relist(self, namespace: str) -> str:
        """Lists once, and returns the version from which a watch goes on.

        Raises:
            ClusterError: the API server refused, or did not answer.
        """
        items, version = self._cluster.list_with_version(self._kind, namespace, self._labels, self._fields)
        self._replace(namespace, items)
        self._listed.add(namespace)
        return version

    def _replace(self, namespace: str, items: Sequence[Object]) -> None:
        """Stores listed objects, and drops those that were deleted before the list."""
        listed = {_key(item) for item in items}
        with self._lock:
            ghosts = [key for key in self._objects if key not in listed and namespace in {"", key[0]}]
        for key in ghosts:
            self._drop(key)
        for item in items:
            self._put(item)

    def _put(self, whole: Object) -> None:
        item = self._transform(whole)
        with self._lock:
            old = self._objects.get(_key(item))
            self._objects[_key(item)] = item
        if old is None or _version(old) != _version(item):
            self._tell(old, item)

    def _drop(self, key: tuple[str, str]) -> None:
        with self._lock:
            old = self._objects.pop(key, None)
        if old is not None:
            self._tell(old, None)

    def _tell(self, old: Object | None, new: Object | None) -> None:
        try:
            self._changed(old, new)
        except Exception:
            namespace, name = _key(new or old or {})
            log.exception("%s %s/%s: a bug in Tunecast", self._kind.plural, namespace, name)


def _key(item: Object) -> tuple[str, str]:
    return str(item["metadata"].get("namespace", "")), str(item["metadata"]["name"])


def _version(item: Object) -> str:
    return str(item["metadata"].get("resourceVersion", ""))
