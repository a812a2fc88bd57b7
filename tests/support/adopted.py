"""An adopted pod, as a controller creates it and as the API server completes it."""

from __future__ import annotations

import copy
from typing import Any

from support.objects import pod_template
from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.webhook.inject import Surroundings

NAMESPACE = "models"
TOKEN = {
    "name": "kube-api-access-x7k2p",
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "readOnly": True,
}


def around(
    chart: dict[str, str] | None = None,
    defaults: dict[str, str] | None = None,
    environment: dict[str, str] | None = None,
) -> Surroundings:
    """What a webhook knows whose world is small."""
    return Surroundings(
        InitContainer("init:1"),
        chart or {},
        lambda _namespace: defaults or {},
        lambda _namespace, _key: environment or {},
    )


def adopted_pod(*args: str, annotations: dict[str, str] | None = None, **engine: Any) -> dict[str, Any]:
    """A pod of a ReplicaSet, as the webhook sees it when it is created."""
    template = pod_template(*args, **engine)
    (container,) = copy.deepcopy(template["spec"]["containers"])
    container["volumeMounts"] = [*container.get("volumeMounts", ()), TOKEN]
    token = {"name": TOKEN["name"], "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    reference = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "vllm-6d4c",
        "uid": "rs-uid",
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "vllm-6d4c-abcde",
            "namespace": NAMESPACE,
            "uid": "pod-uid",
            "labels": {"app": "vllm", "pod-template-hash": "6d4c", "tunecast.io/inject": "true"},
            "annotations": annotations or {},
            "ownerReferences": [reference],
        },
        "spec": {
            "containers": [container],
            "enableServiceLinks": True,
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "priority": 0,
            "tolerations": [
                {
                    "key": "node.kubernetes.io/not-ready",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            ],
            "volumes": [token],
        },
    }
