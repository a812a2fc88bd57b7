"""Generates pods of vLLM with odd but mostly valid fields. The same seed gives the same pod."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Change = Callable[[Object, random.Random], None]  # changes a pod
LONG = "a-name-of-63-characters-which-is-as-long-as-the-name-may-ever-be"[:63]
MEMORY = {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}


def generated_pod(seed: int, namespace: str) -> Object:
    """Returns a pod with the label and one to six changes."""
    chance = random.Random(seed)
    engine = {"name": "engine", "image": "vllm:1", "command": ["vllm", "serve", "org/model"]}
    labels = {"tunecast.io/inject": "true"}
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{seed}", "namespace": namespace, "labels": labels, "annotations": {}},
        "spec": {"containers": [engine], "initContainers": [], "volumes": []},
    }
    for change in chance.sample(CHANGES, chance.randrange(1, 7)):
        change(pod, chance)
    return pod


def _fields(*choices: Object) -> Change:
    """Sets fields of the spec."""
    return lambda pod, chance: pod["spec"].update(chance.choice(choices))


def _engine(*choices: Object) -> Change:
    """Sets fields of the engine's container."""
    return lambda pod, chance: pod["spec"]["containers"][0].update(chance.choice(choices))


def _init(*choices: Object) -> Change:
    """Adds an init container."""

    def change(pod: Object, chance: random.Random) -> None:
        number = len(pod["spec"]["initContainers"])
        pod["spec"]["initContainers"].append({"name": f"init-{number}", "image": "init:1", **chance.choice(choices)})

    return change


def _container(*choices: Object) -> Change:
    """Adds a container; the engine is named, since more than one could run vLLM."""

    def change(pod: Object, chance: random.Random) -> None:
        found = {"name": f"more-{len(pod['spec']['containers'])}", "image": "more:1", **chance.choice(choices)}
        pod["spec"]["containers"].append(found)
        pod["metadata"]["annotations"]["tunecast.io/container"] = pod["spec"]["containers"][0]["name"]

    return change


def _mounted(*choices: tuple[Object, Object]) -> Change:
    """Adds a volume with a source, which the engine mounts."""

    def change(pod: Object, chance: random.Random) -> None:
        source, mount = chance.choice(choices)
        name = f"volume-{len(pod['spec']['volumes'])}"
        pod["spec"]["volumes"].append({"name": name, **source})
        pod["spec"]["containers"][0].setdefault("volumeMounts", []).append({"name": name, **mount})

    return change


def _env(*choices: list[Object]) -> Change:
    """Adds variables to the engine."""
    return lambda pod, chance: pod["spec"]["containers"][0].setdefault("env", []).extend(chance.choice(choices))


def _annotations(*choices: dict[str, str]) -> Change:
    return lambda pod, chance: pod["metadata"]["annotations"].update(chance.choice(choices))


def _claim(pod: Object, chance: random.Random) -> None:
    source = chance.choice([{"resourceClaimName": "gpu"}, {"resourceClaimTemplateName": "gpus"}])
    pod["spec"]["resourceClaims"] = [{"name": "gpu", **source}]
    pod["spec"]["containers"][0].setdefault("resources", {})["claims"] = [{"name": "gpu"}]


def _block(pod: Object, _chance: random.Random) -> None:
    pod["spec"]["volumes"].append({"name": "block", "persistentVolumeClaim": {"claimName": "raw"}})
    pod["spec"]["containers"][0]["volumeDevices"] = [{"name": "block", "devicePath": "/dev/raw"}]


def _long_names(pod: Object, _chance: random.Random) -> None:
    pod["spec"]["containers"][0]["name"] = LONG
    pod["metadata"]["name"] = f"{'n' * 60}.{pod['metadata']['name']}"
    pod["spec"]["volumes"].append({"name": LONG, "emptyDir": {}})
    if "tunecast.io/container" in pod["metadata"]["annotations"]:
        pod["metadata"]["annotations"]["tunecast.io/container"] = LONG


ANY: Object = {"emptyDir": {}}
CHANGES: tuple[Change, ...] = (
    _fields({"restartPolicy": "Never"}, {"restartPolicy": "OnFailure"}),
    _fields({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, {"hostIPC": True}, {"hostPID": True}),
    _fields({"shareProcessNamespace": True}, {"hostUsers": False}),
    _fields({"os": {"name": "windows"}}, {"os": {"name": "linux"}}),
    _fields(
        {"os": {"name": "windows"}, "securityContext": {"windowsOptions": {"runAsUserName": "ContainerUser"}}},
        {"nodeSelector": {"kubernetes.io/os": "windows"}},
    ),
    _fields(
        {"securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 2000}},
        {"securityContext": {"runAsUser": 0, "seccompProfile": {"type": "Unconfined"}}},
        {"securityContext": {"supplementalGroups": [1], "sysctls": [{"name": "net.ipv4.x", "value": "1"}]}},
        {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}, "fsGroupChangePolicy": "OnRootMismatch"}},
    ),
    _fields(
        {"resources": {"limits": {"cpu": "2", "memory": "256Mi"}}},
        {"resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}},
        {"resources": {"requests": {"memory": "8Gi"}, "limits": {"memory": "8Gi", "hugepages-2Mi": "4Mi"}}},
        {"resources": {"limits": {"cpu": "10m"}}},
    ),
    _fields({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}}, {"hostAliases": [{"ip": "192.0.2.1"}]}),
    _fields({"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": True}, {"nodeName": "node-1"}),
    _fields({"schedulingGates": [{"name": "example.com/gate"}]}, {"readinessGates": [{"conditionType": "e.com/r"}]}),
    _fields({"automountServiceAccountToken": False}, {"enableServiceLinks": False}, {"enableServiceLinks": True}),
    _fields({"terminationGracePeriodSeconds": 0}, {"activeDeadlineSeconds": 1}),
    _fields({"priorityClassName": "system-node-critical"}, {"priorityClassName": "system-cluster-critical"}),
    _fields({"imagePullSecrets": [{"name": "a"}, {"name": ""}]}, {"tolerations": [{"operator": "Exists"}]}),
    _engine({"resources": MEMORY}, {"resources": {"requests": {"cpu": "8", "memory": "32Gi"}}}),
    _engine(
        {"resources": {"limits": {"nvidia.com/gpu": "8", "cpu": "1", "memory": "16Mi"}}},
        {"resources": {"limits": {"hugepages-2Mi": "4Mi", "memory": "1Gi"}}},
        {"resources": {"limits": {"ephemeral-storage": "1Mi"}}},
        {"resources": {"requests": {"memory": "2G", "cpu": "1500m"}, "limits": {"memory": "2e9"}}},
    ),
    _engine({"ports": [{"containerPort": 8000, "hostPort": 8000}, {"containerPort": 8000, "protocol": "UDP"}]}),
    _engine({"securityContext": {"privileged": True}}, {"securityContext": {"readOnlyRootFilesystem": True}}),
    _engine(
        {"startupProbe": {"exec": {"command": ["true"]}}, "livenessProbe": {"grpc": {"port": 9}}},
        {"readinessProbe": {"httpGet": {"path": "/", "port": "http"}}, "ports": [{"name": "http", "containerPort": 1}]},
        {"livenessProbe": {"tcpSocket": {"port": 8000}, "terminationGracePeriodSeconds": 5}},
    ),
    _engine({"command": ["vllm", "serve", "m", "--host=127.0.0.1"]}, {"command": ["vllm", "serve", "m", "--port=80"]}),
    _engine({"command": ["sh", "-c", "exec vllm serve m"]}, {"command": None, "args": ["m"]}, {"command": ["sleep"]}),
    _engine({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}, {"tty": True, "stdin": True, "workingDir": "/tmp"}),
    _engine({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}),
    _engine({"envFrom": [{"configMapRef": {"name": "c"}}, {"prefix": "P_", "secretRef": {"name": "s"}}]}),
    _init({"restartPolicy": "Always"}, {"restartPolicy": "Always", "startupProbe": {"exec": {"command": ["a"]}}}),
    _init({"ports": [{"containerPort": 8000, "hostPort": 8000}]}, {"resources": MEMORY}, {"name": LONG[:60]}),
    _init({"restartPolicy": "Always", "ports": [{"containerPort": 8000}]}, {"env": [{"name": "A", "value": "$(B)"}]}),
    _container({}, {"name": LONG[:61]}, {"resources": MEMORY}, {"command": ["vllm", "serve", "other"]}),
    _mounted(
        (ANY, {"mountPath": "/dev/shm"}), (ANY, {"mountPath": "/dev/shm/"}), (ANY, {"mountPath": "/tmp"}),
        ({"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}, {"mountPath": "/dev/shm", "subPath": "a"}),
        (ANY, {"mountPath": "//dev//shm"}), (ANY, {"mountPath": "/dev/./shm"}), (ANY, {"mountPath": "/"}),
        (ANY, {"mountPath": "/dev"}), (ANY, {"mountPath": "/var/cache"}), (ANY, {"mountPath": "dev/shm"}),
        (ANY, {"mountPath": "/etc/tunecast"}), (ANY, {"mountPath": "/var/cache/tunecast/x"}),
    ),
    _mounted(
        ({"hostPath": {"path": "/models"}}, {"mountPath": "/m", "readOnly": True, "recursiveReadOnly": "Disabled"}),
        ({"persistentVolumeClaim": {"claimName": "c"}}, {"mountPath": "/m", "subPathExpr": "a"}),
        ({"image": {"reference": "m:1"}}, {"mountPath": "/m", "readOnly": True}),
        ({"configMap": {"name": "c", "optional": True}}, {"mountPath": "/m/f", "subPath": "f"}),
        ({"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}, {"mountPath": "/m"}),
        ({"csi": {"driver": "d"}}, {"mountPath": "/m", "mountPropagation": "HostToContainer"}),
        ({"projected": {"sources": []}}, {"mountPath": "/m"}),
        ({"nfs": {"server": "s", "path": "/"}}, {"mountPath": "m"}),
    ),
    _env(
        [{"name": "VLLM_CACHE_ROOT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}], [{"name": "MY.VARIABLE-x", "value": ""}],
        [{"name": "TRITON_CACHE_DIR", "value": "/x"}, {"name": "B", "value": "$(TRITON_CACHE_DIR)/y"}],
        [{"name": "P", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}],
        [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}}],
    ),
    _annotations(
        {"tunecast.io/ranks": "2"}, {"tunecast.io/ranks": "many"}, {"large": "x" * (2**18 - 200)},
        {"tunecast.io/exclude-layers": "Triton"}, {"tunecast.io/credentials-secret": "keys"}, {"a/b": "\n\t é"},
    ),
    _claim, _block, _long_names,
)  # fmt: skip
