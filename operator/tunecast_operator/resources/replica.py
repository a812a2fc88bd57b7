"""Builds the pod template of replicas: the user's, with an init container that installs the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecast_core.bundle import layers
from tunecast_core.key import MOUNT_PATH
from tunecast_core.trust.settings import CONFIG_MAP
from tunecast_operator.api.inference_deployment import CacheSettings, InferenceDeploymentSpec
from tunecast_operator.engine import Engine
from tunecast_operator.identity import CONTAINER_ANNOTATION, DEPLOYMENT_LABEL, KEY_LABEL
from tunecast_operator.resources.annotations import replica_annotations
from tunecast_operator.resources.init_container import downward_variables, extra_mounts, extra_volumes, init_container
from tunecast_operator.resources.pod import CACHE_VOLUME, selected_gpu, with_cache
from tunecast_operator.resources.revision import Revision

INIT = "tunecast-init"
TRUST_VOLUME = "tunecast-trust"
TRUST_DIRECTORY = "/etc/tunecast/trust"
TEMPORARY_VOLUME = "tunecast-init-tmp"
# A cold start may take an hour. The end of a warm one is detected within two seconds.
STARTUP = {"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 1800}


def selector(name: str) -> dict[str, str]:
    return {DEPLOYMENT_LABEL: name}


def replica_template(name: str, spec: InferenceDeploymentSpec, engine: Engine, revision: Revision) -> dict[str, Any]:
    """Returns the pod template of the Deployment ``name``."""
    metadata = spec.template.get("metadata") or {}
    pod = replica_pod(spec.template["spec"], spec.cache, engine, revision)
    annotations = replica_annotations(metadata.get("annotations") or {}, pod["volumes"])
    kept = {"finalizers": metadata["finalizers"]} if metadata.get("finalizers") else {}
    return {
        "metadata": {
            **kept,
            "labels": {**(metadata.get("labels") or {}), **selector(name), KEY_LABEL: revision.key},
            "annotations": {**annotations, CONTAINER_ANNOTATION: engine.name},
        },
        "spec": pod,
    }


def replica_pod(spec: Mapping[str, Any], cache: CacheSettings, engine: Engine, revision: Revision) -> dict[str, Any]:
    """Returns a pod spec with an init container that installs a bundle before the engine starts.

    Args:
        spec: the pod spec of the engine's owner.
        cache: how the pod gets the bundle.
        engine: which of its containers runs vLLM.
        revision: the key, and what else the init container is rendered with.
    """
    pod = with_cache(spec, engine, revision.environment)
    if not engine.container.get("startupProbe"):
        probe = {**engine.health, **STARTUP}
        pod["containers"] = [{**c, "startupProbe": probe} if c["name"] == engine.name else c for c in pod["containers"]]
    # It is the last one, so that sidecars which provide its network, such as a mesh's proxy, have started.
    pod["initContainers"] = [*(pod.get("initContainers") or ()), _init_container(spec, cache, engine, revision)]
    pod["volumes"] += [
        {"name": TRUST_VOLUME, "configMap": {"name": CONFIG_MAP, "optional": True}},
        {"name": TEMPORARY_VOLUME, "emptyDir": {}},
        *extra_volumes(revision.init_container),
    ]
    return pod


def _init_container(
    spec: Mapping[str, Any], cache: CacheSettings, engine: Engine, revision: Revision
) -> dict[str, Any]:
    environment = {
        "TUNECAST_KEY": revision.key,
        "TUNECAST_MOUNT_PATH": MOUNT_PATH,
        "TUNECAST_ON_FAILURE": cache.on_failure,
        "TUNECAST_EXCLUDED_LAYERS": ",".join(cache.layers.exclude),
        "TUNECAST_PYCACHE": "true" if layers.PYCACHE_VARIABLE in revision.environment else "false",
    }
    if engine.wants_gpu:
        environment |= {"TUNECAST_WANTS_GPU": "true", "TUNECAST_GPU_PRODUCT": selected_gpu(spec)}
    namespace = {"name": "TUNECAST_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
    secret = cache.credentials_secret
    credentials = [{"secretRef": {"name": secret.name, "optional": True}}] if secret else []
    settings = revision.init_container
    limited = "ephemeral-storage" in ((engine.container.get("resources") or {}).get("limits") or {})
    env_from = [*settings.extra_env_from, *credentials]
    variables = ({"name": name, "value": value} for name, value in sorted(environment.items()) if value)
    return {
        **init_container(INIT, revision.init, engine.container, spec),
        "args": ["fetch"],
        **({"envFrom": env_from} if env_from else {}),
        "env": [*settings.extra_env, namespace, *variables, *downward_variables(engine.name if limited else None)],
        "volumeMounts": [
            {"name": CACHE_VOLUME, "mountPath": MOUNT_PATH},
            {"name": TRUST_VOLUME, "mountPath": TRUST_DIRECTORY, "readOnly": True},
            {"name": TEMPORARY_VOLUME, "mountPath": "/tmp"},  # noqa: S108 - the container's own
            *extra_mounts(settings),
        ],
    }
