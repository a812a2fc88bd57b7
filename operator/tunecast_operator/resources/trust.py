"""The ConfigMap that init containers believe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecast_cache.errors import MalformedError
from tunecast_cache.records import canonical, decode
from tunecast_cache.trust import CONFIG_MAP, FILE, Trust
from tunecast_operator.identity import MANAGED_BY


def trust_config_map(namespace: str, trust: Trust, version: str = "") -> dict[str, Any]:
    """``version`` is the resourceVersion that ``trust`` was made from: the API server takes it over no other."""
    versioned = {"resourceVersion": version} if version else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": namespace, "labels": MANAGED_BY, **versioned},
        "data": {FILE: canonical(trust).decode()},
    }


def quarantined_in(live: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Digests of the manifests that a namespace's ConfigMap quarantines; none where it can't be read."""
    text = str(((live or {}).get("data") or {}).get(FILE, ""))
    try:
        return decode(Trust, text.encode(), CONFIG_MAP).quarantined
    except MalformedError:
        return ()  # somebody else's words: it is written anew
