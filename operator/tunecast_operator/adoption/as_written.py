"""Recovers from a pod the template that its owner wrote. Pure.

A pod has more than its owner wrote: defaults of the API server, changes by admission and the scheduler, containers of
other injectors, and Tunecast's own changes. With these, keys and ranks would differ from pod to pod.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tunecast_core.bundle.layers import PLUGIN_VARIABLE, RESERVED_VARIABLES
from tunecast_core.key import MOUNT_PATH
from tunecast_operator.adoption.names import INJECTED_ANNOTATION, NOT_INJECTED_ANNOTATION
from tunecast_operator.identity import KEY_LABEL
from tunecast_operator.resources.annotations import without_replica_annotations
from tunecast_operator.resources.init_container import VOLUME_PREFIX
from tunecast_operator.resources.replica import INIT

Object = Mapping[str, Any]
# Names of containers that injectors add.
INJECTED_CONTAINERS = frozenset({
    "azwi-proxy", "azwi-proxy-init",  # Azure workload identity
    "consul-connect-inject-init", "consul-dataplane", "envoy-sidecar",  # Consul
    "daprd",  # Dapr
    "istio-init", "istio-proxy", "istio-validation", "enable-core-dump",  # Istio
    "kuma-init", "kuma-sidecar", "kuma-validation",  # Kuma
    "linkerd-init", "linkerd-network-validator", "linkerd-proxy",  # Linkerd
    "opentelemetry-auto-instrumentation-python", "otc-container",  # OpenTelemetry
    "vault-agent", "vault-agent-init",  # Vault
})  # fmt: skip
# Volumes with credentials that cloud providers' webhooks add to pods, and the variables that they add with them.
_IDENTITY_VARIABLES = {
    "aws-iam-token": {
        "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ROLE_ARN", "AWS_STS_REGIONAL_ENDPOINTS", "AWS_WEB_IDENTITY_TOKEN_FILE",
    },
    "azure-identity-token": {
        "AZURE_AUTHORITY_HOST", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID",
    },
    "eks-pod-identity-token": {
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_DEFAULT_REGION",
        "AWS_REGION", "AWS_STS_REGIONAL_ENDPOINTS",
    },
}  # fmt: skip
_SERVICE_ACCOUNT_TOKEN = re.compile(r"kube-api-access-[a-z0-9]{5}")  # added by the admission of service accounts
# Variables that controllers set to the index of a pod, or to the name of its group.
_PER_POD_VARIABLES = frozenset({
    "JOB_COMPLETION_INDEX",  # Jobs
    "PODSET_NAME", "POD_GROUP_INDEX", "ROLESET_INDEX", "ROLESET_NAME", "ROLE_REPLICA_INDEX",  # AIBrix
    "ROLE_TEMPLATE_HASH",  # AIBrix: of the whole pod template, with its labels
})  # fmt: skip
# A command line may refer to the variables of a LeaderWorkerSet. This one differs between pods.
_LEADER_ADDRESS = "LWS_LEADER_ADDRESS"
# Fields that the scheduler, admission or kubectl debug sets, or that only name the pod.
_SET_BY_OTHERS = frozenset({
    "ephemeralContainers", "hostname", "nodeName", "preemptionPolicy", "priority", "schedulingGates", "serviceAccount",
    "subdomain",
})  # fmt: skip
_DEFAULT_TOLERATIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
# Annotations by which networks and injectors report on a pod, and by which a pod joins its group. With a report, an
# injector would skip a rank.
_REPORTS = re.compile(
    r"cni\.projectcalico\.org/.*|k8s\.v1\.cni\.cncf\.io/network-status.*|k8s\.ovn\.org/.*|sidecar\.istio\.io/status"
    r"|linkerd\.io/(created-by|proxy-version|trust-root-sha256)|vault\.hashicorp\.com/agent-inject-status"
    r"|consul\.hashicorp\.com/connect-inject-status|kuma\.io/sidecar-injected|kubernetes\.io/(limit-ranger|psp)"
    r"|kubectl\.kubernetes\.io/.*|leaderworkerset\.sigs\.k8s\.io/.*|scheduling\.k8s\.io/group-name"
)
_CONTAINERS = ("containers", "initContainers")


def is_injected(pod: Object) -> bool:
    """Whether Tunecast's webhook changed the pod."""
    return INJECTED_ANNOTATION in (pod["metadata"].get("annotations") or {})


def without_injection(pod: Object) -> dict[str, Any]:
    """Returns the pod without the changes of Tunecast's webhook."""
    metadata = pod["metadata"]
    labels = {n: v for n, v in (metadata.get("labels") or {}).items() if n != KEY_LABEL}
    marks = {INJECTED_ANNOTATION, NOT_INJECTED_ANNOTATION}
    annotations = {n: v for n, v in (metadata.get("annotations") or {}).items() if n not in marks}
    spec = pod["spec"]
    if is_injected(pod):
        annotations, spec = without_replica_annotations(annotations), _without_ours(spec)
    return {**pod, "metadata": {**metadata, "labels": labels, "annotations": annotations}, "spec": spec}


def as_written(pod: Object) -> dict[str, Any]:
    """Returns the template that the owner of ``pod`` wrote: annotations and spec, without what others added.

    Labels are left out, since controllers add their own labels, and ranks don't use any of them.
    """
    bare = without_injection(pod)
    annotations = {n: v for n, v in bare["metadata"]["annotations"].items() if not _REPORTS.fullmatch(n)}
    return {"metadata": {"annotations": annotations}, "spec": _spec(bare["spec"], str(pod["metadata"].get("name", "")))}


def _without_ours(spec: Object) -> dict[str, Any]:
    def ours(name: str) -> bool:
        return name.startswith(VOLUME_PREFIX)

    def variable(found: Object) -> bool:
        name = found["name"]
        return name in RESERVED_VARIABLES or (name == PLUGIN_VARIABLE and _below_mount_path(found))

    kept = {**spec, "volumes": [v for v in spec.get("volumes") or () if not ours(v["name"])]}
    for field in _CONTAINERS:
        kept[field] = [
            _container(c, lambda mount: ours(mount["name"]), variable)
            for c in spec.get(field) or ()
            if c["name"] != INIT
        ]
    return kept


def _below_mount_path(variable: Object) -> bool:
    return str(variable.get("value", "")).startswith(f"{MOUNT_PATH}/")


def _spec(spec: Object, pod_name: str) -> dict[str, Any]:
    names = {volume["name"] for volume in spec.get("volumes") or ()}
    removed = {name for name in names if name in _IDENTITY_VARIABLES or _SERVICE_ACCOUNT_TOKEN.fullmatch(name)}
    variables = _PER_POD_VARIABLES.union(*(_IDENTITY_VARIABLES.get(name, ()) for name in removed))
    kept = {name: value for name, value in spec.items() if name not in _SET_BY_OTHERS}
    kept["volumes"] = [_volume(v, pod_name) for v in spec.get("volumes") or () if v["name"] not in removed]
    kept["tolerations"] = [t for t in spec.get("tolerations") or () if not _is_default_toleration(t)]
    for field in _CONTAINERS:
        kept[field] = [
            _led_by_itself(
                _container(c, lambda mount: mount["name"] in removed, lambda variable: variable["name"] in variables)
            )
            for c in spec.get(field) or ()
            if c["name"] not in INJECTED_CONTAINERS
        ]
    if spec.get("enableServiceLinks") is True:  # the default, which owners seldom set
        del kept["enableServiceLinks"]
    if spec.get("affinity"):
        kept["affinity"] = _affinity(spec["affinity"])
    return kept


def _container(container: Object, mount: Any, variable: Any) -> dict[str, Any]:
    """Returns the container without the mounts and variables for which the predicates are true."""
    kept = dict(container)
    for field, leaves_out in (("volumeMounts", mount), ("env", variable)):
        if field in container:
            kept[field] = [item for item in container[field] or () if not leaves_out(item)]
    return kept


def _led_by_itself(container: dict[str, Any]) -> dict[str, Any]:
    """Sets the address of the group's leader to that of the pod itself, since a rank belongs to no group."""
    if not container.get("env"):
        return container
    env = [{**v, "value": "localhost"} if v["name"] == _LEADER_ADDRESS else v for v in container["env"]]
    return {**container, "env": env}


def _volume(volume: Object, pod_name: str) -> Object:
    """Replaces a claim that a StatefulSet created for this pod by an emptyDir, since other pods can't use it."""
    claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
    return {"name": volume["name"], "emptyDir": {}} if claim == f"{volume['name']}-{pod_name}" else volume


def _is_default_toleration(toleration: Object) -> bool:
    return toleration.get("key") in _DEFAULT_TOLERATIONS and toleration.get("tolerationSeconds") is not None


def _affinity(affinity: Object) -> dict[str, Any]:
    """Returns the affinity without terms that bind a pod of a DaemonSet to a node by name."""
    node = affinity.get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms: Sequence[Object] = required.get("nodeSelectorTerms") or ()
    if not any("matchFields" in term for term in terms):
        return dict(affinity)
    bare = [term for term in ({n: v for n, v in t.items() if n != "matchFields"} for t in terms) if term]
    kept = {n: v for n, v in node.items() if n != "requiredDuringSchedulingIgnoredDuringExecution"}
    if bare:
        kept["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": bare}
    return {**affinity, "nodeAffinity": kept}
