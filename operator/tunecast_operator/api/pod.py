"""What the pods of replicas and ranks need besides the engine."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tunecast_cache.key import MOUNT_PATH
from tunecast_operator.api.kubernetes_types import QUANTITY, list_of, of
from tunecast_operator.api.model import LabelValue, Model, Object, ruled, rules, text

AnnotationValue = Annotated[str, Field(max_length=65536)]
OWN_MOUNTS = (MOUNT_PATH, "/run/tunecast")


def _quantities(description: str) -> Object:
    return {"type": "object", "description": description, "maxProperties": 32, "additionalProperties": QUANTITY}


# The container's requests and limits, checked here already: a Deployment is made much later, maybe.
RESOURCES = of(
    "V1ResourceRequirements",
    limits=_quantities("The most it gets. GPUs belong here, and are part of the key."),
    requests=_quantities("What it is sure to get."),
)
OWN_NAMES = rules(
    (
        "self.all(k, !k.startsWith('tunecast.io/') && k != 'app.kubernetes.io/managed-by')",
        "names that begin with tunecast.io/, and app.kubernetes.io/managed-by, are Tunecast's own: rename it",
    )
)
_OWN_VOLUMES = rules(
    (
        "self.all(v, !v.name.startsWith('tunecast-'))",
        "volume names that begin with tunecast- are Tunecast's own: rename it",
    ),
    (
        "self.all(v, self.exists_one(w, w.name == v.name))",
        "pod.volumes has two volumes of one name: rename one of them",
    ),
)
_OWN_PATHS = rules(
    (
        "self.all(m, " + " && ".join(f"!(m.mountPath + '/').startsWith('{path}/')" for path in OWN_MOUNTS) + ")",
        f"{' and '.join(OWN_MOUNTS)} are Tunecast's own: mount it elsewhere",
    ),
    (
        r"self.all(m, !m.mountPath.matches('//|/\\.\\.?(/|$)'))",
        "a path of pod.volumeMounts goes through //, /./ or /../: write it without",
    ),
    (
        "self.all(m, self.exists_one(n, n.mountPath == m.mountPath))",
        "pod.volumeMounts mounts two volumes at one path: move one of them",
    ),
)
_THERE = "has(self.volumes) && self.volumes.exists(v, v.name == m.name)"
_MOUNTED = rules(
    (
        f"!has(self.volumeMounts) || self.volumeMounts.all(m, {_THERE})",
        "pod.volumeMounts names a volume that isn't there: add it to pod.volumes",
    ),
    field=".volumeMounts",
)


class PodSettings(Model):
    """Fields of the pod, as in a Deployment's template; replicas and ranks have the same."""

    model_config = ruled(_MOUNTED)
    volumes: list[Object] = Field(
        default_factory=list,
        max_length=64,
        description="Volumes, as in a pod. They are part of the key, since an engine or a model may live there.",
        json_schema_extra=list_of("V1Volume", _OWN_VOLUMES, name=text("The volume's name.", 63)),
    )
    volume_mounts: list[Object] = Field(
        default_factory=list,
        max_length=64,
        description="Where the engine's container has them.",
        json_schema_extra=list_of(
            "V1VolumeMount",
            _OWN_PATHS,
            name=text("The volume's name.", 63),
            mountPath=text("Where it is in the container.", 512),
        ),
    )
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict, max_length=64, description="Labels of nodes to run on."
    )
    tolerations: list[Object] = Field(
        default_factory=list,
        max_length=64,
        description="Tolerations, as in a pod.",
        json_schema_extra=list_of("V1Toleration", {}),
    )
    affinity: Object | None = Field(
        default=None,
        description="Affinity, as in a pod; the accelerator's node affinity is added to it.",
        json_schema_extra=of("V1Affinity"),
    )
    service_account_name: str | None = Field(
        default=None, max_length=253, description="The service account of replicas and ranks; ranks get no token of it."
    )
    image_pull_secrets: list[Object] = Field(
        default_factory=list,
        max_length=16,
        description="Secrets to pull the engine's image with, and Tunecast's own.",
        json_schema_extra=list_of("V1LocalObjectReference", {}, name=text("The Secret's name.", 253)),
    )
    priority_class_name: str | None = Field(default=None, max_length=253, description="The pods' priority class.")
    runtime_class_name: str | None = Field(
        default=None, max_length=253, description="The pods' runtime class. Part of the key."
    )
    scheduler_name: str | None = Field(default=None, max_length=253, description="The scheduler that places the pods.")
    security_context: Object | None = Field(
        default=None, description="The pods' security context.", json_schema_extra=of("V1PodSecurityContext")
    )
    labels: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=64,
        description="Labels of serving pods alone: ranks never carry them, so no Service or budget counts a rank.",
        json_schema_extra=OWN_NAMES,
    )
    annotations: dict[str, AnnotationValue] = Field(
        default_factory=dict,
        max_length=64,
        description="Annotations of replicas and ranks. Those that have a mesh inject its proxy, or tell an autoscaler "
        "what it may do, are of replicas alone: tuning.template.metadata.annotations has those of ranks.",
        json_schema_extra=OWN_NAMES,
    )
