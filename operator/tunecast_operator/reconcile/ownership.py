"""Checks who owns an object. Objects of others are never taken over or deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecast_operator.runtime.cluster import ClusterError, ConflictError, Kind


class NameTakenError(ClusterError):
    reason = "NameTaken"


def owned(child: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether ``owner`` owns ``child``, and not an earlier object of the same name."""
    return owner["metadata"]["uid"] in {o["uid"] for o in child["metadata"].get("ownerReferences", ())}


def outlives(child: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether an earlier object of the same name owns ``child``, which is being garbage-collected."""
    return not owned(child, owner) and any(
        (o.get("kind"), o.get("name")) == (owner["kind"], owner["metadata"]["name"])
        for o in child["metadata"].get("ownerReferences", ())
    )


def check_owner(kind: Kind, desired: Mapping[str, Any], live: Mapping[str, Any] | None) -> None:
    """Raises NameTakenError if the object of that name belongs to somebody else."""
    owners = (live or {}).get("metadata", {}).get("ownerReferences", [])
    ours = desired["metadata"].get("ownerReferences", [])
    if not live or not ours or {owner["uid"] for owner in ours} & {owner["uid"] for owner in owners}:
        return
    name = f"{desired['metadata']['namespace']}/{desired['metadata']['name']}"
    if {owner["kind"] for owner in owners} & {owner["kind"] for owner in ours}:
        raise ConflictError(
            f"{kind.name} {name} belongs to an earlier {ours[0]['kind']} of this name, and is being deleted"
        )
    raise taken(kind, name)


def taken(kind: Kind, name: str) -> NameTakenError:
    return NameTakenError(
        f"{kind.name} {name} exists and does not belong to Tunecast: delete it, or choose another name"
    )
