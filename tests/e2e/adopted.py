"""Owners of pods that know nothing of Tunecast but a label: a Helm release, a StatefulSet."""

from __future__ import annotations

import json
from typing import Any

from e2e.elsewhere import limit_range, quota, small
from e2e.steps import engine_of, environment_without, tiny
from e2e.tunings import engine_claim
from e2e.world import World
from harness import deploy, policies
from harness.kubectl import Object, wait_for

NAMESPACE = "adopted"
STRICT = "adopted-strict"
RELEASE, STATEFUL_SET = "release", "stateful"
CHART = deploy.ROOT / "tests" / "data" / "charts" / "vllm"
LABEL = {"tunecast.io/inject": "true"}
TUNE_SECONDS = 900.0
WARM_SECONDS = 900.0  # a first pod may be cold, beside other tunings
INIT = "tunecast-init"


def engine_pod(**container: Any) -> Object:
    """Returns the demo's pod spec, with one layer of the model, and fields of its container replaced.

    It has shared memory of its own, without which vLLM doesn't start where the webhook is away.
    """
    found = small(tiny("x", NAMESPACE))
    engine, pod = engine_of(found), found["spec"]["template"]["spec"]
    engine.update(container)
    engine["volumeMounts"].append({"name": "shm", "mountPath": "/dev/shm"})
    pod["volumes"].append({"name": "shm", "emptyDir": {"medium": "Memory"}})
    return dict(pod)


def defaults(namespace: str, **data: str) -> Object:
    """Returns the ConfigMap with a namespace's settings of adopted pods."""
    metadata = {"name": "tunecast-defaults", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def begin(world: World) -> None:
    """Installs both owners, whose engines have different keys, so that both are tuned at the same time."""
    world.namespace(NAMESPACE)
    world.kubectl.apply(defaults(NAMESPACE, **{"credentials-secret": deploy.S3_SECRET}))
    release(world)
    world.kubectl.apply(stateful_set())
    begin_strict(world)


def begin_strict(world: World) -> None:
    """Starts an engine where Pod Security, a quota on every resource and a powerless service account apply."""
    world.namespace(STRICT, {"pod-security.kubernetes.io/enforce": "restricted", **policies.sidecars("enabled")})
    world.kubectl.apply(
        *engine_claim(STRICT),
        defaults(STRICT, **{"credentials-secret": deploy.S3_SECRET}),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody", "namespace": STRICT}},
        quota(STRICT),
        limit_range(STRICT, "64Mi"),
    )
    world.kubectl.apply(strict_deployment())


def strict_deployment() -> Object:
    resources = {
        "requests": {"cpu": "100m", "memory": "2Gi", "ephemeral-storage": "64Mi"},
        "limits": {"cpu": "2", "memory": "6Gi", "ephemeral-storage": "4Gi"},
    }
    env = [*environment_without(), {"name": "HOME", "value": "/tmp"}, {"name": "USER", "value": "engine"}]
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = engine_pod(resources=resources, env=env, securityContext=context)
    pod["volumes"][0] = {"name": "vllm", "persistentVolumeClaim": {"claimName": "vllm", "readOnly": True}}
    pod["securityContext"] = {"runAsNonRoot": True, "runAsUser": 1234, "seccompProfile": {"type": "RuntimeDefault"}}
    pod["serviceAccountName"] = "nobody"
    return workload("Deployment", STRICT, STRICT, pod)


def workload(kind: str, name: str, namespace: str, pod: Object, **spec: Any) -> Object:
    """Returns a Deployment or a StatefulSet of one labelled pod."""
    labels = {"app": name}
    template = {"metadata": {"labels": {**labels, **LABEL}}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def release(world: World, **values: Any) -> None:
    """Runs ``helm upgrade --install`` of the small chart."""
    given = {"podLabels": LABEL, "pod": engine_pod(), **values}
    command = ["upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", "/dev/stdin"]
    world.kubectl.command("helm", *command, stdin=json.dumps(given))


def stateful_set() -> Object:
    pod = engine_pod()
    pod["containers"][0]["args"].append("--max-num-seqs=8")
    return workload("StatefulSet", STATEFUL_SET, NAMESPACE, pod, serviceName=STATEFUL_SET)


def pods(world: World, selector: str, namespace: str = NAMESPACE) -> list[Object]:
    """Returns the pods that aren't being deleted, the oldest first."""
    found = world.kubectl.items("pods", "-n", namespace, "-l", selector)
    living = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
    return sorted(living, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def until_ready_pods(world: World, selector: str, count: int, namespace: str = NAMESPACE) -> list[Object]:
    """Waits until there are ``count`` pods and all of them are ready."""

    def look() -> list[Object] | None:
        found = pods(world, selector, namespace)
        ready = [pod for pod in found if is_ready(pod)]
        return found if len(found) == len(ready) == count else None

    return wait_for(look, f"{count} ready pods of {selector} in {namespace}", WARM_SECONDS)


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)


def key_of(pod: Object) -> str:
    """Returns the key that the webhook gave the pod; empty if the pod was not injected."""
    return str(pod["metadata"]["labels"].get("tunecast.io/key", ""))


def until_tuned(world: World, key: str, namespace: str = NAMESPACE) -> Object:
    """Waits until the StartupCache of ``key`` has ended; returns it."""

    def look() -> Object | None:
        found = world.kubectl.items("startupcaches", "-n", namespace, "-l", f"tunecast.io/key={key}")
        ended = [cache for cache in found if cache.get("status", {}).get("state") in ENDS]
        return ended[0] if ended else None

    return wait_for(look, f"the StartupCache of {key} has ended", TUNE_SECONDS)


ENDS = {"Ready", "Ineffective", "Failed"}


def has_init_container(pod: Object) -> bool:
    return any(container["name"] == INIT for container in pod["spec"].get("initContainers") or ())


def scale(world: World, kind: str, name: str, replicas: int, namespace: str = NAMESPACE) -> None:
    world.kubectl("scale", f"{kind}/{name}", "-n", namespace, f"--replicas={replicas}")


def switch(world: World, name: str, replicas: int) -> None:
    """Scales a Deployment of Tunecast's own, and waits until it has exactly that many pods, which are ready."""
    scale(world, "deployment", name, replicas, deploy.SYSTEM_NAMESPACE)
    if replicas:
        until_ready_pods(world, f"app.kubernetes.io/name={name}", replicas, deploy.SYSTEM_NAMESPACE)

    def gone() -> bool:
        return (
            len(world.kubectl.items("pods", "-n", deploy.SYSTEM_NAMESPACE, "-l", f"app.kubernetes.io/name={name}"))
            == replicas
        )

    wait_for(gone, f"{name} has {replicas} pods", 120)
