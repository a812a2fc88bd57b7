"""Labels and annotations of pods for service meshes and autoscalers, from the documentation of those projects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LOCAL_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
# A proxy would keep a rank from ending. Messages between ranks are sealed without it.
NO_MESH_LABELS = {"sidecar.istio.io/inject": "false", "kuma.io/sidecar-injection": "disabled"}
NO_MESH = {
    "sidecar.istio.io/inject": "false",  # older injectors read only the annotation
    "linkerd.io/inject": "disabled",
    "consul.hashicorp.com/connect-inject": "false",
}
# If a template asks for Vault, only its init container runs, since its sidecar would keep ranks from ending.
NO_AGENT = {"vault.hashicorp.com/agent-inject": "false"}
NO_VAULT_SIDECAR = {"vault.hashicorp.com/agent-pre-populate-only": "true"}
# A disruption of one rank loses the work of all.
NO_DISRUPTION = {"karpenter.sh/do-not-disrupt": "true", "cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def rank_labels(own: Mapping[str, str]) -> dict[str, str]:
    """Returns the labels of ranks. Their ``own`` labels take precedence."""
    return {**NO_MESH_LABELS, **own}


def job_labels(of_ranks: Mapping[str, str]) -> dict[str, str]:
    """Returns the labels of a Job: those of its ranks, without labels that only concern pods."""
    return {name: value for name, value in of_ranks.items() if NO_MESH_LABELS.get(name) != value}


def rank_annotations(shared: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Returns the annotations of ranks: those ``shared`` with replicas, defaults, and their ``own``, which win."""
    return {**NO_AGENT, **shared, **NO_MESH, **NO_VAULT_SIDECAR, **NO_DISRUPTION, **own}


def replica_annotations(own: Mapping[str, str], volumes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Adds an annotation to a replica's ``own``: the autoscaler may evict the pod despite Tunecast's emptyDirs."""
    ours = [volume["name"] for volume in volumes if volume["name"].startswith("tunecast-") and "emptyDir" in volume]
    return {**own, LOCAL_VOLUMES: ",".join(dict.fromkeys([*_listed(own), *ours]))}


def without_replica_annotations(found: Mapping[str, str]) -> dict[str, str]:
    """Returns ``found`` without what ``replica_annotations`` added."""
    kept = {name: value for name, value in found.items() if name != LOCAL_VOLUMES}
    listed = [name for name in _listed(found) if not name.startswith("tunecast-")]
    return {**kept, LOCAL_VOLUMES: ",".join(listed)} if listed else kept


def _listed(annotations: Mapping[str, str]) -> list[str]:
    return [name.strip() for name in annotations.get(LOCAL_VOLUMES, "").split(",") if name.strip()]
