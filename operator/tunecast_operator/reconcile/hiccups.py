"""Tolerates single failures of the API server: status shows only a repeated one."""

from __future__ import annotations


class Hiccups:
    """Objects whose last reconciliation failed at the API server. No two workers process the same object."""

    def __init__(self) -> None:
        self._failed: set[tuple[str, str]] = set()

    def first(self, namespace: str, name: str) -> bool:
        """Records a failure. Returns True if the previous reconciliation did not fail."""
        known = (namespace, name) in self._failed
        self._failed.add((namespace, name))
        return not known

    def over(self, namespace: str, name: str) -> None:
        """Forgets an object that was reconciled or is gone."""
        self._failed.discard((namespace, name))
