"""Renders the chart with Helm."""

from __future__ import annotations

import json
from typing import Any

import yaml

from harness.deploy import ROOT
from harness.kubectl import Kubectl, Object
from tunecast_operator.resources.annotations import LOCAL_VOLUMES

CHART = str(ROOT / "charts" / "tunecast")
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
EVERYTHING: dict[str, Any] = {  # a value for every setting of the chart
    "s3": {
        "bucket": "bundles",
        "prefix": "p",
        "endpoint": "https://s3",
        "region": "eu",
        "addressingStyle": "Virtual",
        "caCertificates": PEM,
        "proxy": "http://proxy:3128",
        "credentialsSecret": "keys",
    },
    "image": {"repository": "registry/operator", "tag": "v1", "pullPolicy": "Always"},
    "initImage": {"repository": "registry/init", "tag": "v2", "pullPolicy": "Never"},
    "imagePullSecrets": [{"name": "pull"}],
    "watchNamespaces": ["one", "two"],
    "initDeadlineSeconds": 30.5,
    "tuning": {"maxConcurrent": 6, "maxConcurrentPerNamespace": 2},
    "readNodes": False,
    "logLevel": "DEBUG",
    "crds": {"enabled": True, "keep": False},
    "serviceAccount": {"create": True, "name": "robot", "annotations": {"role": "reader"}},
    "podAnnotations": {"a": "1", LOCAL_VOLUMES: "cache"},
    "podLabels": {"b": "2"},
    "priorityClassName": "high",
    "nodeSelector": {"kind": "cpu"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "resources": {"limits": {"memory": "1Gi"}},
    "podSecurityContext": {"runAsUser": 1000730000},
    "securityContext": {"seccompProfile": None},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    "initContainer": {
        "resources": {"limits": {"cpu": "1"}},
        "securityContext": {"runAsUser": 1000730000, "seccompProfile": None},
        "extraEnv": [{"name": "CA", "value": "/ca/$(TUNECAST_KEY)"}],
        "extraEnvFrom": [{"configMapRef": {"name": "proxy", "optional": True}}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca", "optional": True}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    },
    "webhook": {
        "replicas": 3,
        "timeoutSeconds": 5,
        "resources": {"limits": {"memory": "256Mi"}},
        "priorityClassName": "highest",
        "nodeSelector": {"kind": "webhook"},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "affinity": {"podAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
        ],
    },
    "adoption": {
        "defaults": {
            "tuningPolicy": "Never",
            "ranks": 2,
            "hardwareLimit": 1,
            "credentialsSecret": "reader-$(X)",
            "excludeLayers": ["Triton"],
        }
    },
    "networkPolicy": {"enabled": True},
    "metrics": {
        "port": 9090,
        "serviceMonitor": {"enabled": True, "interval": "10s", "labels": {"release": "prometheus"}},
        "alerts": {"enabled": True},
        "dashboard": {"enabled": True},
    },
}


def render(kubectl: Kubectl, **values: Any) -> dict[tuple[str, str], Object]:
    """Returns the objects that the chart renders for ``values``, by kind and name."""
    chosen = {"s3": {"bucket": "bundles"}, **values}
    arguments = ["template", "t", CHART, "--namespace", "tunecast-system", "--kube-version", "1.35.0", "--values", "-"]
    objects = [*filter(None, yaml.safe_load_all(kubectl.command("helm", *arguments, stdin=json.dumps(chosen))))]
    names = [(found["kind"], found["metadata"]["name"], found["metadata"].get("namespace")) for found in objects]
    assert len({*names}) == len(names), "two templates make one object"
    return {(found["kind"], found["metadata"]["name"]): found for found in objects}
