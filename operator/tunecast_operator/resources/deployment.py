"""Builds the Deployment of an InferenceDeployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.engine import Engine
from tunecast_operator.identity import MANAGED_BY, REVISION_ANNOTATION
from tunecast_operator.resources.owner import owner_reference
from tunecast_operator.resources.replica import replica_template, selector
from tunecast_operator.resources.revision import Revision


def deployment(
    owner: dict[str, Any], spec: InferenceDeploymentSpec, engine: Engine, revision: Revision, replicas: int | None
) -> dict[str, Any]:
    """Returns the Deployment to apply. Without ``replicas``, another field manager keeps that field."""
    metadata = owner["metadata"]
    strategy = {"strategy": spec.strategy} if spec.strategy else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**MANAGED_BY, **selector(metadata["name"])},
            "annotations": {REVISION_ANNOTATION: revision.to_text()},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": selector(metadata["name"])},
            **strategy,
            "template": replica_template(metadata["name"], spec, engine, revision),
        },
    }


def strategy_patch(desired: dict[str, Any], live: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns a merge patch that is needed before ``desired`` is applied: Recreate allows no rollingUpdate.

    Server-side apply can't remove what it doesn't own, and ignores an explicit null.
    """
    wanted = desired["spec"].get("strategy", {}).get("type")
    leftover = ((live or {}).get("spec") or {}).get("strategy", {}).get("rollingUpdate")
    if wanted != "Recreate" or leftover is None:
        return None
    return {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}
