"""What differs between two ranks' environments: engines hash most of theirs into the keys of their caches. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from tunecast_core.records.manifest import LayerProof

PER_POD = frozenset({"HOSTNAME", "PWD", "OLDPWD", "SHLVL", "_"})  # differ everywhere, and no engine hashes them


def fingerprints(environment: Mapping[str, str]) -> dict[str, str]:
    """A short digest of each variable's value: enough to compare, and no secret travels."""
    return {
        name: hashlib.sha256(f"{name}={value}".encode(errors="surrogateescape")).hexdigest()[:16]
        for name, value in environment.items()
        if name not in PER_POD
    }


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names of variables that are not the same in both."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def explained(layer: LayerProof, variables: list[str]) -> LayerProof:
    """A layer that didn't hit, with the variables that may be why."""
    if layer.verdict == "Hit" or not variables:
        return layer
    return replace(layer, reason=f"{layer.reason}; set otherwise than on rank 0: {', '.join(variables[:5])}")
