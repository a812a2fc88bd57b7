"""The Deployment of an InferenceDeployment: serving pods whose init container puts the cache in place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tunecast_cache import layers
from tunecast_cache.errors import MalformedError
from tunecast_cache.key import MOUNT_PATH
from tunecast_cache.records import camel, canonical, decode, to_json
from tunecast_cache.trust import CONFIG_MAP
from tunecast_operator.api.command_line import command_line, listening
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.identity import DEPLOYMENT_LABEL, KEY_LABEL, MANAGED_BY, REVISION_ANNOTATION
from tunecast_operator.resources.annotations import replica_annotations
from tunecast_operator.resources.init_container import (
    ContainerSettings,
    InitContainer,
    extra_mounts,
    extra_volumes,
    init_container,
    told_by_pod,
)
from tunecast_operator.resources.pod import CACHE_VOLUME, pod_spec

RENDERER = 2  # raise it when the same spec renders another template: existing revisions then stay as they are
INIT = "tunecast-init"
TRUST_VOLUME = "tunecast-trust"
TRUST_DIRECTORY = "/etc/tunecast/trust"
TEMPORARY_VOLUME = "tunecast-init-tmp"


@dataclass(frozen=True, slots=True)
class Revision:
    """What a template was rendered with, kept as an annotation, so that an operator upgrade changes nothing."""

    spec: str  # identity.template_digest
    key: str
    key_version: int
    init_image: str
    init_pull_policy: str
    environment: dict[str, str]  # variables that a proof asked for, such as PYTHONPYCACHEPREFIX
    held: bool  # waits with zero replicas for its first cache
    renderer: int = RENDERER
    init_container: ContainerSettings = field(default_factory=ContainerSettings)

    @property
    def init(self) -> InitContainer:
        return InitContainer(self.init_image, self.init_pull_policy, self.init_container)

    def to_text(self) -> str:
        return json.dumps({f.name: to_json(getattr(self, f.name)) for f in fields(self)}, sort_keys=True)


def revision_of(deployment: dict[str, Any] | None) -> Revision | None:
    """The revision that a live Deployment was rendered with; None where it isn't ours or can't be read."""
    text = ((deployment or {}).get("metadata", {}).get("annotations") or {}).get(REVISION_ANNOTATION, "")
    try:
        found = decode(dict[str, Any], text.encode(), REVISION_ANNOTATION)  # spelt as 0.1.0 did, who may come back
        return decode(Revision, canonical({camel(name): value for name, value in found.items()}), REVISION_ANNOTATION)
    except MalformedError:
        return None


def selector(name: str) -> dict[str, str]:
    return {DEPLOYMENT_LABEL: name}


def deployment(
    owner: dict[str, Any], spec: InferenceDeploymentSpec, revision: Revision, replicas: int | None
) -> dict[str, Any]:
    """The Deployment to apply; without ``replicas`` that field stays its other owner's."""
    metadata = owner["metadata"]
    labels = {**MANAGED_BY, **selector(metadata["name"])}
    pod = serving_pod(spec, revision)
    strategy = {"strategy": spec.strategy} if spec.strategy else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {REVISION_ANNOTATION: revision.to_text()},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": selector(metadata["name"])},
            **strategy,
            "template": {
                "metadata": {
                    "labels": {**spec.pod.labels, **labels, KEY_LABEL: revision.key},
                    "annotations": replica_annotations(spec.pod.annotations, pod["volumes"]),
                },
                "spec": pod,
            },
        },
    }


def strategy_patch(desired: dict[str, Any], live: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What has to be merged before ``desired`` can be applied: beside Recreate, a rolling update's defaults must go.

    Server-side apply can't remove what it doesn't own, and ignores an explicit null.
    """
    wanted = desired["spec"].get("strategy", {}).get("type")
    leftover = ((live or {}).get("spec") or {}).get("strategy", {}).get("rollingUpdate")
    if wanted != "Recreate" or leftover is None:
        return None
    return {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}


def serving_pod(spec: InferenceDeploymentSpec, revision: Revision) -> dict[str, Any]:
    """The shared pod with probes, a port, and the init container before the engine."""
    pod = pod_spec(
        spec.engine,
        spec.pod,
        spec.resources,
        spec.accelerator,
        command=command_line(spec),
        extra_environment=revision.environment,
    )
    tls = {"scheme": "HTTPS"} if listening(spec).tls else {}  # kubelets don't verify the certificate
    health = {"httpGet": {"path": "/health", "port": spec.engine.port, **tls}}
    engine = pod["containers"][0]
    engine["ports"] = [{"name": "http", "containerPort": spec.engine.port, "protocol": "TCP"}]
    # A cold start may take an hour (a whole JIT build); a warm one is seen within two seconds.
    engine["startupProbe"] = {**health, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 1800}
    engine["readinessProbe"] = {**health, "periodSeconds": 5, "timeoutSeconds": 5}
    engine["livenessProbe"] = {**health, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6}
    pod["initContainers"] = [_init_container(spec, revision)]
    pod["volumes"] += [
        {"name": TRUST_VOLUME, "configMap": {"name": CONFIG_MAP, "optional": True}},
        {"name": TEMPORARY_VOLUME, "emptyDir": {}},
        *extra_volumes(revision.init_container),
    ]
    return pod


def _init_container(spec: InferenceDeploymentSpec, revision: Revision) -> dict[str, Any]:
    environment = {
        "TUNECAST_KEY": revision.key,
        "TUNECAST_MOUNT_PATH": MOUNT_PATH,
        "TUNECAST_ON_FAILURE": spec.cache.on_failure,
        "TUNECAST_EXCLUDED_LAYERS": ",".join(spec.cache.layers.exclude),
        "TUNECAST_PYCACHE": "true" if layers.PYCACHE_VARIABLE in revision.environment else "false",
    }
    namespace = {"name": "TUNECAST_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
    secret = spec.cache.credentials_secret
    credentials = [{"secretRef": {"name": secret.name, "optional": True}}] if secret else []
    settings = revision.init_container
    env_from = [*settings.extra_env_from, *credentials]
    limited = "ephemeral-storage" in spec.resources.get("limits", {})
    variables = ({"name": name, "value": value} for name, value in sorted(environment.items()) if value)
    return {
        **init_container(INIT, revision.init, spec.pod.security_context),
        "args": ["fetch"],
        **({"envFrom": env_from} if env_from else {}),
        "env": [*settings.extra_env, namespace, *variables, *told_by_pod(engine_limited=limited)],
        "volumeMounts": [
            {"name": CACHE_VOLUME, "mountPath": MOUNT_PATH},
            {"name": TRUST_VOLUME, "mountPath": TRUST_DIRECTORY, "readOnly": True},
            {"name": TEMPORARY_VOLUME, "mountPath": "/tmp"},  # noqa: S108 - the container's own
            *extra_mounts(settings),
        ],
    }


def owner_reference(owner: dict[str, Any]) -> dict[str, Any]:
    """Makes the garbage collector delete the child with its owner, without any running operator."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
