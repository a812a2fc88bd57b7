"""Reads the quarantined bundles of a namespace from its trust ConfigMap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tunecast_core.errors import MalformedError
from tunecast_core.records.codec import decode
from tunecast_core.trust.settings import CONFIG_MAP, FILE, Trust

CASES = "quarantine.json"  # beside the file that init containers read, which only has the digests


@dataclass(frozen=True, slots=True)
class Failure:
    """How an engine ended. Two containers that ended in the same way have equal failures."""

    exit_code: int
    error: str = ""  # digest of the last error in the container's log, which may hold values of secrets; "" if none


@dataclass(frozen=True, slots=True)
class Case:
    """Why a bundle is quarantined, or why its quarantine was lifted."""

    message: str
    blamed: tuple[
        Failure, ...
    ] = ()  # failures of engines that started from the bundle; empty once the quarantine is lifted
    cleared: tuple[
        Failure, ...
    ] = ()  # failures that also occur without the bundle, so that they are no evidence against it


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Digests of quarantined manifests. An administrator may add digests without a case."""

    digests: tuple[str, ...] = ()  # sorted
    cases: Mapping[str, Case] = field(default_factory=dict)

    def lifted(self, manifest: str) -> bool:
        """Whether the bundle was quarantined and replicas start from it again."""
        return manifest not in self.digests and manifest in self.cases

    def message(self, manifest: str) -> str:
        """Returns the message of the bundle's case; empty if it has none."""
        return self.cases[manifest].message if manifest in self.cases else ""

    def also(self, digests: Iterable[str]) -> Quarantine:
        return replace(self, digests=tuple(sorted({*self.digests, *digests})))


def quarantine_in(live: Mapping[str, Any] | None) -> Quarantine:
    """Reads the quarantine from the trust ConfigMap. Entries that can't be read are ignored and overwritten.

    A digest that somebody removed from the list stays quarantined while its case has blamed failures.
    """
    data = (live or {}).get("data") or {}
    cases = _read(dict[str, Case], data.get(CASES), {})
    trust = _read(Trust, data.get(FILE), None)
    return Quarantine((), cases).also(
        [*(trust.quarantined if trust else ()), *(digest for digest, case in cases.items() if case.blamed)]
    )


def _read(kind: Any, text: Any, otherwise: Any) -> Any:
    try:
        return decode(kind, str(text).encode(), CONFIG_MAP)
    except MalformedError:
        return otherwise
