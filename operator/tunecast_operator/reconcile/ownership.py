"""Whose an object is: a name that somebody else's has already is never taken over, and nothing of theirs is deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecast_operator.runtime.cluster import ClusterError, ConflictError, Kind


class NameTakenError(ClusterError):
    reason = "NameTaken"


def owned(child: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether ``child`` was made for this very object, not for an earlier one of its name."""
    return owner["metadata"]["uid"] in {o["uid"] for o in child["metadata"].get("ownerReferences", ())}


def outlives(child: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether ``child`` was made for an earlier object of this name: it ends by itself."""
    return not owned(child, owner) and any(
        (o.get("kind"), o.get("name")) == (owner["kind"], owner["metadata"]["name"])
        for o in child["metadata"].get("ownerReferences", ())
    )


def check_owner(kind: Kind, desired: Mapping[str, Any], live: Mapping[str, Any] | None) -> None:
    """Raises NameTakenError where an object of that name belongs to somebody else."""
    owners = (live or {}).get("metadata", {}).get("ownerReferences", [])
    ours = desired["metadata"].get("ownerReferences", [])
    if not live or not ours or {owner["uid"] for owner in ours} & {owner["uid"] for owner in owners}:
        return
    name = f"{desired['metadata']['namespace']}/{desired['metadata']['name']}"
    if {owner["kind"] for owner in owners} & {owner["kind"] for owner in ours}:
        raise ConflictError(f"{kind.name} {name} is of an earlier {ours[0]['kind']} of this name, and ends")
    raise taken(kind, name)


def taken(kind: Kind, name: str) -> NameTakenError:
    return NameTakenError(f"{kind.name} {name} exists and isn't ours: delete it, or choose another name")
