"""Compares the environments of two ranks, which engines hash into the keys of their caches. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from tunecast_core.records.manifest import LayerProof

PER_POD = frozenset({"HOSTNAME", "PWD", "OLDPWD", "SHLVL", "_"})  # differ between pods, and no engine hashes them


def fingerprints(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns a short digest of each variable, which can be compared and sent without revealing secrets."""
    return {
        name: hashlib.sha256(f"{name}={value}".encode(errors="surrogateescape")).hexdigest()[:16]
        for name, value in environment.items()
        if name not in PER_POD
    }


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Returns the sorted names of the variables that differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def explained(layer: LayerProof, variables: list[str]) -> LayerProof:
    """Adds the variables that differ to the reason of a layer that didn't hit."""
    if layer.verdict == "Hit" or not variables:
        return layer
    return replace(layer, reason=f"{layer.reason}; variables that differ from rank 0: {', '.join(variables[:5])}")
