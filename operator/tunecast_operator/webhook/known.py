"""Keeps what the webhook needs in memory by watches, so that no answer waits for the API server."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from tunecast_operator.adoption.names import DEFAULTS
from tunecast_operator.api.startup_cache import startup_cache
from tunecast_operator.api.status import State
from tunecast_operator.runtime.cluster import CONFIG_MAP, STARTUP_CACHE, Cluster
from tunecast_operator.runtime.informer import Informer
from tunecast_operator.webhook.inject import Surroundings
from tunecast_operator.webhook.settings import WebhookSettings

Object = Mapping[str, Any]


class Known:
    """Holds the defaults of namespaces, and the variables that ready bundles need."""

    def __init__(self, cluster: Cluster, settings: WebhookSettings) -> None:
        self._lock = threading.Lock()
        self._environments: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
        watched = settings.watch_namespaces
        self._defaults = Informer(cluster, CONFIG_MAP, watched, fields=f"metadata.name={DEFAULTS}")
        self._caches = Informer(cluster, STARTUP_CACHE, watched, changed=self._cache_changed, transform=_parts)
        self.surroundings = Surroundings(settings.init, settings.defaults, self.defaults, self.environment)

    @property
    def synced(self) -> bool:
        """Whether everything has been listed at least once."""
        return self._defaults.synced and self._caches.synced

    def start(self) -> None:
        """Starts to watch."""
        self._defaults.start()
        self._caches.start()

    def defaults(self, namespace: str) -> Mapping[str, str]:
        """Returns the data of the namespace's ConfigMap ``tunecast-defaults``; empty if there is none."""
        found = self._defaults.get(namespace, DEFAULTS) or {}
        return dict(found.get("data") or {})

    def environment(self, namespace: str, key: str) -> Mapping[str, str]:
        """Returns variables that the bundle of the key needs: the one for the hardware that the scheduler chose."""
        with self._lock:
            found = self._environments.get((namespace, key))
            return dict(next(iter(found.values()))) if found else {}

    def _cache_changed(self, old: Object | None, new: Object | None) -> None:
        with self._lock:
            for item, there in ((old, False), (new, True)):
                if item is None:
                    continue
                place, name = (item["metadata"]["namespace"], item["key"]), item["metadata"]["name"]
                if there and item["environment"] is not None:
                    self._environments.setdefault(place, {})[name] = item["environment"]
                elif self._environments.get(place, {}).pop(name, None) is not None and not self._environments[place]:
                    del self._environments[place]


def _parts(item: Object) -> Object:
    """Returns the parts of a StartupCache that pods need. The environment is None if no pod may use the bundle."""
    metadata = {name: item["metadata"][name] for name in ("namespace", "name", "resourceVersion")}
    cache = startup_cache(item)
    usable = cache.state == State.READY and not cache.asked_hardware
    return {"metadata": metadata, "key": cache.key, "environment": cache.status.environment if usable else None}
