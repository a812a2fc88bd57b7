"""What pods tell service meshes and autoscalers; names are those of the projects' own documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LOCAL_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
# A rank ends when its engine has, and a proxy never does; what ranks tell each other is sealed already.
NO_MESH_LABELS = {"sidecar.istio.io/inject": "false", "kuma.io/sidecar-injection": "disabled"}
NO_MESH = {
    "sidecar.istio.io/inject": "false",  # older injectors read the annotation alone
    "linkerd.io/inject": "disabled",
    "consul.hashicorp.com/connect-inject": "false",
}
# Vault may bring secrets that an engine needs: where it is asked to, its init container does that alone.
NO_AGENT = {"vault.hashicorp.com/agent-inject": "false"}
NO_SIDECAR_OF_VAULT = {"vault.hashicorp.com/agent-pre-populate-only": "true"}
# The work of all ranks is lost with one.
NO_DISRUPTION = {"karpenter.sh/do-not-disrupt": "true", "cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def rank_labels(own: Mapping[str, str]) -> dict[str, str]:
    """Labels of ranks; their ``own`` win."""
    return {**NO_MESH_LABELS, **own}


def job_labels(of_ranks: Mapping[str, str]) -> dict[str, str]:
    """Labels of a Job: those of its ranks without what concerns pods alone."""
    return {name: value for name, value in of_ranks.items() if NO_MESH_LABELS.get(name) != value}


def rank_annotations(shared: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Annotations of ranks: those ``shared`` with replicas, but for what concerns replicas alone; their ``own`` win."""
    return {**NO_AGENT, **shared, **NO_MESH, **NO_SIDECAR_OF_VAULT, **NO_DISRUPTION, **own}


def replica_annotations(own: Mapping[str, str], volumes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """A replica's ``own`` annotations, and that losing our emptyDirs harms nobody, so that they pin no node."""
    ours = [volume["name"] for volume in volumes if volume["name"].startswith("tunecast-") and "emptyDir" in volume]
    listed = [name.strip() for name in own.get(LOCAL_VOLUMES, "").split(",") if name.strip()]
    return {**own, LOCAL_VOLUMES: ",".join(dict.fromkeys([*listed, *ours]))}
