"""Builds the trust ConfigMap, by which init containers verify bundles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecast_core.records.codec import canonical
from tunecast_core.trust.settings import CONFIG_MAP, FILE, Trust
from tunecast_operator.identity import MANAGED_BY
from tunecast_operator.resources.quarantine import CASES, Case


def trust_config_map(namespace: str, trust: Trust, cases: Mapping[str, Case], version: str = "") -> dict[str, Any]:
    """Returns the ConfigMap. The API server rejects it if ``version`` is no longer the live resourceVersion."""
    versioned = {"resourceVersion": version} if version else {}
    recorded = {CASES: canonical(cases).decode()} if cases else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": namespace, "labels": MANAGED_BY, **versioned},
        "data": {FILE: canonical(trust).decode(), **recorded},
    }
