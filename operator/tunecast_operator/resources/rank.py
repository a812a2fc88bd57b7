"""Builds the pod of a rank: that of a replica with another entry point, without what serves clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunecast_core.records.job import SETTINGS_DIRECTORY, TEMPORARY_DIRECTORY
from tunecast_operator.api.inference_deployment import RankTemplate
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.engine import Engine
from tunecast_operator.identity import CACHE_LABEL
from tunecast_operator.resources.annotations import rank_annotations, rank_labels
from tunecast_operator.resources.init_container import InitContainer, init_container
from tunecast_operator.resources.pod import GPU_PRODUCT_LABEL, with_cache

TOOLS_DIRECTORY = "/run/tunecast/tools"
TOOLS_VOLUME = "tunecast-tools"
SETTINGS_VOLUME = "tunecast-job"
TEMPORARY_VOLUME = "tunecast-tmp"
SECRETS_DIRECTORY = "/run/tunecast/secrets"
# Fields that only serve clients, or that a Job's pods can't have.
_CONTAINER_LEAVES_OUT = {
    "lifecycle", "livenessProbe", "ports", "readinessProbe", "restartPolicy", "restartPolicyRules", "startupProbe",
}  # fmt: skip
# Ranks have host names of their own, and two ranks on one node would use the same ports of the host network.
_POD_LEAVES_OUT = {
    "activeDeadlineSeconds", "affinity", "containers", "hostNetwork", "hostname", "hostnameOverride", "initContainers",
    "readinessGates", "restartPolicy", "schedulingGates", "setHostnameAsFQDN", "subdomain",
    "terminationGracePeriodSeconds", "topologySpreadConstraints", "volumes",
}  # fmt: skip
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
Object = Mapping[str, Any]


def rank_template(template: Object, engine: Engine, laid_over: RankTemplate) -> dict[str, Any]:
    """Returns the part of a pod template that ranks use, merged with ``tuning.template``.

    The engine's container stays, as do ordinary init containers, since they may fetch weights, and the volumes of both.
    """
    pod = template["spec"]
    container = {name: value for name, value in engine.container.items() if name not in _CONTAINER_LEAVES_OUT}
    init = [i for i in pod.get("initContainers") or () if i.get("restartPolicy") != "Always"]
    mounted = {mount["name"] for c in (container, *init) for mount in c.get("volumeMounts") or ()}
    mounted |= {device["name"] for c in (container, *init) for device in c.get("volumeDevices") or ()}
    optional = {
        "affinity": _affinity(pod.get("affinity") or {}),
        "initContainers": init,
        "volumes": [volume for volume in pod.get("volumes") or () if volume["name"] in mounted],
        "nodeSelector": {**(pod.get("nodeSelector") or {}), **laid_over.spec.node_selector},
        "tolerations": [*(pod.get("tolerations") or ()), *laid_over.spec.tolerations],
        "priorityClassName": laid_over.spec.priority_class_name or pod.get("priorityClassName"),
    }
    kept = {name: value for name, value in pod.items() if name not in {*_POD_LEAVES_OUT, *optional}}
    own = (template.get("metadata") or {}).get("annotations") or {}
    return {
        "metadata": {
            "labels": rank_labels(laid_over.metadata.labels),
            "annotations": rank_annotations(own, laid_over.metadata.annotations),
        },
        "spec": {**kept, "containers": [container], **{name: value for name, value in optional.items() if value}},
    }


def _affinity(affinity: Object) -> dict[str, Any]:
    """Returns only node affinity, since ranks don't have the labels that pod affinity selects."""
    return {"nodeAffinity": affinity["nodeAffinity"]} if affinity.get("nodeAffinity") else {}


def on_nodes(template: Object, terms: Sequence[Object]) -> dict[str, Any]:
    """Returns the template with a node affinity that also demands one of ``terms``."""
    pod = template["spec"]
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    own = [term for term in (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or () if term] or [{}]
    both = [_both(one, other) for one in own for other in terms]
    required = {"nodeAffinity": {**affinity, _REQUIRED: {"nodeSelectorTerms": both}}}
    return {**template, "spec": {**pod, "affinity": {**(pod.get("affinity") or {}), **required}}}


def _both(one: Object, other: Object) -> dict[str, Any]:
    fields = ("matchExpressions", "matchFields")
    joined = {field: [*(one.get(field) or ()), *(other.get(field) or ())] for field in fields}
    return {field: requirements for field, requirements in joined.items() if requirements}


def rank_pod(
    spec: StartupCacheSpec, engine: Engine, settings_secret: str, subdomain: str, init: InitContainer
) -> dict[str, Any]:
    """Returns the pod spec of a rank: with its tools and settings, and without Kubernetes credentials.

    The init container of the tools has the administrator's resources and security context. It only copies files, so it
    needs no variables.
    """
    pod = with_cache(spec.template["spec"], engine, {})
    (container,) = pod["containers"]
    secrets = _secrets(engine)
    container = {
        **{name: value for name, value in container.items() if name != "args"},
        "command": ["python3", "-B", TOOLS_DIRECTORY, "--", *engine.words],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *container["volumeMounts"],
            {"name": TOOLS_VOLUME, "mountPath": TOOLS_DIRECTORY, "readOnly": True},
            {"name": SETTINGS_VOLUME, "mountPath": SETTINGS_DIRECTORY, "readOnly": True},
            {"name": TEMPORARY_VOLUME, "mountPath": TEMPORARY_DIRECTORY},
            *({"name": volume, "mountPath": path, "readOnly": True} for volume, path, _ in secrets),
        ],
    }
    tools = {
        **init_container("tunecast-tools", init, engine.container, pod),
        "args": ["tools", TOOLS_DIRECTORY],
        "volumeMounts": [{"name": TOOLS_VOLUME, "mountPath": TOOLS_DIRECTORY}],
    }
    together = (
        {"affinity": _together(pod.get("affinity") or {}, subdomain)} if engine.wants_gpu and spec.ranks > 1 else {}
    )
    return {
        **pod,
        **together,
        "containers": [container],
        "initContainers": [tools, *(pod.get("initContainers") or ())],
        "volumes": [
            *pod["volumes"],
            {"name": TOOLS_VOLUME, "emptyDir": {}},
            {"name": TEMPORARY_VOLUME, "emptyDir": {}},
            {"name": SETTINGS_VOLUME, "secret": {"secretName": settings_secret}},
            *({"name": volume, "secret": {"secretName": secret, "optional": True}} for volume, _, secret in secrets),
        ],
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "subdomain": subdomain,
        "terminationGracePeriodSeconds": 30,
    }


def _together(affinity: Object, cache: str) -> dict[str, Any]:
    """Attracts the ranks of a StartupCache to nodes with the same GPU product, if nodes have that label.

    Otherwise the scheduler may spread them over several products, which fails the attempt.
    """
    term = {"topologyKey": GPU_PRODUCT_LABEL, "labelSelector": {"matchLabels": {CACHE_LABEL: cache}}}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {**affinity, "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def _secrets(engine: Engine) -> Sequence[tuple[str, str, str]]:
    """Returns volume, path and name of each Secret in envFrom, which is also mounted as files.

    The rank reads the files to learn which values it must never stage. The operator doesn't read Secrets.
    """
    sources = engine.container.get("envFrom") or ()
    names = dict.fromkeys(str(s["secretRef"].get("name")) for s in sources if s.get("secretRef"))
    return [(f"tunecast-secret-{n}", f"{SECRETS_DIRECTORY}/{n}", name) for n, name in enumerate(names)]


def secret_directories(engine: Engine) -> list[str]:
    """Returns the paths at which a rank has the values of those Secrets."""
    return [path for _, path, _ in _secrets(engine)]
