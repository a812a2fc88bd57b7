"""The ConfigMap that init containers believe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecast_core.records.codec import canonical
from tunecast_core.trust.settings import CONFIG_MAP, FILE, Trust
from tunecast_operator.identity import MANAGED_BY
from tunecast_operator.resources.quarantine import CASES, Case


def trust_config_map(namespace: str, trust: Trust, cases: Mapping[str, Case], version: str = "") -> dict[str, Any]:
    """``version`` is the resourceVersion that ``trust`` was made from: the API server takes it over no other."""
    versioned = {"resourceVersion": version} if version else {}
    recorded = {CASES: canonical(cases).decode()} if cases else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": namespace, "labels": MANAGED_BY, **versioned},
        "data": {FILE: canonical(trust).decode(), **recorded},
    }
