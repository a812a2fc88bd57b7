"""Builds owner references."""

from __future__ import annotations

from typing import Any


def owner_reference(owner: dict[str, Any]) -> dict[str, Any]:
    """Returns a reference that makes the garbage collector delete a child with its owner."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
