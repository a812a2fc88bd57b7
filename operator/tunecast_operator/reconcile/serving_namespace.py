"""Writes what every namespace with serving pods needs: the trust ConfigMap and StartupCaches."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tunecast_core.trust.settings import Trust
from tunecast_operator.api.groups import GROUP, VERSION
from tunecast_operator.identity import KEY_LABEL, MANAGED_BY
from tunecast_operator.matching import matches
from tunecast_operator.reconcile.ownership import check_owner, taken
from tunecast_operator.reconcile.settled import Settled
from tunecast_operator.resources.quarantine import Quarantine
from tunecast_operator.resources.trust import trust_config_map
from tunecast_operator.runtime.cluster import CONFIG_MAP, STARTUP_CACHE, Cluster, Kind
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.publisher import Publisher

log = logging.getLogger(__name__)


class ServingNamespace:
    """Writes objects only where they differ."""

    def __init__(self, cluster: Cluster, installation: Installation, publisher: Publisher) -> None:
        self._cluster, self._installation = cluster, installation
        self._trusted, self._signer = publisher.trusted, publisher.signer
        self.settled = Settled()

    def write_trust(self, namespace: str, quarantine: Quarantine, before: Quarantine, version: str) -> None:
        """Applies the trust ConfigMap with ``quarantine``, if it still has the resourceVersion ``version``.

        ``before`` is what it recorded then.
        """
        digests = quarantine.digests
        deadline = self._installation.init_deadline_seconds
        trust = Trust(self._installation.store, dict(self._trusted), digests, deadline, self._signer)
        self.apply_where_it_differs(CONFIG_MAP, trust_config_map(namespace, trust, quarantine.cases, version))
        for manifest in {*digests} ^ {*before.digests}:
            state = "quarantined" if manifest in digests else "no longer quarantined"
            log.warning("%s: bundle %s is %s: %s", namespace, manifest, state, quarantine.message(manifest))

    def create_cache(self, namespace: str, name: str, spec: dict[str, Any]) -> None:
        """Creates a StartupCache, unless somebody else has created the same one.

        Raises:
            NameTakenError: another one has this name.
        """
        metadata = {"name": name, "namespace": namespace, "labels": {**MANAGED_BY, KEY_LABEL: spec["key"]}}
        cache = {"apiVersion": f"{GROUP}/{VERSION}", "kind": STARTUP_CACHE.name, "metadata": metadata, "spec": spec}
        if not self._cluster.create(STARTUP_CACHE, cache):
            live = self._cluster.get(STARTUP_CACHE, namespace, name)
            if live and live["spec"]["key"] != spec["key"]:
                raise taken(STARTUP_CACHE, f"{namespace}/{name}")

    def apply_where_it_differs(self, kind: Kind, desired: dict[str, Any]) -> None:
        """Applies an object of our own, if a write would change something."""
        metadata = desired["metadata"]
        live = self._cluster.get(kind, metadata["namespace"], metadata["name"])
        if self.differs(kind, desired, live):
            check_owner(kind, desired, live)
            self.settled.applied(kind, desired, self._cluster.apply(kind, desired))

    def differs(self, kind: Kind, desired: dict[str, Any], live: Mapping[str, Any] | None) -> bool:
        """Whether a write would change something, considering admission policies that change what is written."""
        return not matches(desired, live) and not self.settled.holds(kind, desired, live)
