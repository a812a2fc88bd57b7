"""The ConfigMap that init containers believe."""

from __future__ import annotations

from typing import Any

from tunecast_cache.records import canonical
from tunecast_cache.trust import CONFIG_MAP, FILE, Trust
from tunecast_operator.identity import MANAGED_BY


def trust_config_map(namespace: str, trust: Trust) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": namespace, "labels": MANAGED_BY},
        "data": {FILE: canonical(trust).decode()},
    }
