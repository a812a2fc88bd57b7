"""The bundles of a namespace that no replica starts from, as its trust ConfigMap records them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tunecast_core.errors import MalformedError
from tunecast_core.records.codec import decode
from tunecast_core.trust.settings import CONFIG_MAP, FILE, Trust

CASES = "quarantine.json"  # beside the file that init containers read: they need the digests alone


@dataclass(frozen=True, slots=True)
class Failure:
    """How an engine ended, in a form that is equal for two containers that ended the same way."""

    exit_code: int
    error: str = ""  # digest of the last error in the container's log, which may hold values of secrets; "" if none


@dataclass(frozen=True, slots=True)
class Case:
    """Why a bundle is quarantined, or isn't any more."""

    message: str
    blamed: tuple[Failure, ...] = ()  # how engines ended that started from it; none once the quarantine is lifted
    cleared: tuple[Failure, ...] = ()  # how engines end without the bundle too: no evidence against it


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Manifests by digest; an administrator may add digests without a case."""

    digests: tuple[str, ...] = ()  # sorted
    cases: Mapping[str, Case] = field(default_factory=dict)

    def lifted(self, manifest: str) -> bool:
        """Whether the bundle was quarantined and replicas start from it again."""
        return manifest not in self.digests and manifest in self.cases

    def message(self, manifest: str) -> str:
        """What was seen; empty where nothing is recorded."""
        return self.cases[manifest].message if manifest in self.cases else ""

    def also(self, digests: Iterable[str]) -> Quarantine:
        return replace(self, digests=tuple(sorted({*self.digests, *digests})))


def quarantine_in(live: Mapping[str, Any] | None) -> Quarantine:
    """What the trust ConfigMap says; what can't be read counts as none, and is written anew.

    A digest that somebody removed from the list stays quarantined while its case is open.
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
