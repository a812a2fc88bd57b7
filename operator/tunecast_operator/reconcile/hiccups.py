"""Failures of the API server that pass by themselves: only a repeated one is shown in status."""

from __future__ import annotations


class Hiccups:
    """Objects whose last reconciliation the API server failed. Two workers never hold the same object."""

    def __init__(self) -> None:
        self._failed: set[tuple[str, str]] = set()

    def first(self, namespace: str, name: str) -> bool:
        """Records a failure; True where the reconciliation before did not fail."""
        known = (namespace, name) in self._failed
        self._failed.add((namespace, name))
        return not known

    def over(self, namespace: str, name: str) -> None:
        """Forgets an object that was reconciled, or that is gone."""
        self._failed.discard((namespace, name))
