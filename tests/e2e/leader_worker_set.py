"""Installs the LeaderWorkerSet controller as its users do, and starts engines that it owns."""

from __future__ import annotations

from pathlib import Path

from e2e import adopted
from e2e.standin import script, standin
from e2e.steps import engine_of
from e2e.world import World
from harness import deploy
from harness.kubectl import CommandError, Object, wait_for

NAMESPACE = "leader-worker-set"
SERVED, CRASHING = "served", "crashing"
SYSTEM_NAMESPACE = "lws-system"
REPOSITORY, TAG = "localhost/lws", "test"
IMAGE = f"{REPOSITORY}:{TAG}"
WEBHOOK_SECONDS = 180.0


def install(world: World) -> None:
    """Installs the controller's own chart: with its CRD, its webhooks and the certificates that it issues itself."""
    folder, cluster = world.environment["TUNECAST_LWS_DIR"], world.environment["TUNECAST_CLUSTER"]
    deploy.cluster("image", "build", "--tag", IMAGE, "--build-arg", deploy.BASE, folder)
    deploy.cluster("image", "load", IMAGE, "--name", cluster)
    values = {
        "image.manager.repository": REPOSITORY,
        "image.manager.tag": TAG,
        "image.manager.pullPolicy": "IfNotPresent",
        "resources.requests.cpu": "50m",
        "resources.requests.memory": "64Mi",
    }
    where = ("--namespace", SYSTEM_NAMESPACE, "--create-namespace", "--wait", "--timeout=3m")
    sets = [f"--set={name}={value}" for name, value in values.items()]
    world.kubectl.helm("upgrade", "--install", "lws", str(Path(folder) / "chart"), *where, *sets)


def begin(world: World) -> None:
    """Applies both LeaderWorkerSets, as soon as the webhooks of their controller answer."""
    world.namespace(NAMESPACE)
    settings = adopted.defaults(NAMESPACE, **{"credentials-secret": deploy.S3_SECRET, "ranks": "1"})
    world.kubectl.apply(settings, script(NAMESPACE))

    def applied() -> bool:
        try:
            served = leader_worker_set(SERVED, adopted.engine_pod())
            return bool(world.kubectl.apply(served, leader_worker_set(CRASHING, crashing_pod())))
        except CommandError as error:
            if "failed calling webhook" not in str(error):
                raise
            return False

    wait_for(applied, "the webhooks of LeaderWorkerSet answer", WEBHOOK_SECONDS)


def leader_worker_set(name: str, pod: Object) -> Object:
    """Returns one group of one pod, whose template has nothing of Tunecast but a label."""
    template = {"metadata": {"labels": adopted.LABEL}, "spec": pod}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": 1, "workerTemplate": template}},
    }


def crashing_pod() -> Object:
    """Returns the stand-in whose warm starts succeed in ranks and crash in replicas."""
    found = standin("x", NAMESPACE)
    engine_of(found)["args"].append("--crash-as-replica")
    pod: Object = found["spec"]["template"]["spec"]
    return pod


def pods_of(name: str) -> str:
    """Returns a selector of the pods of a LeaderWorkerSet."""
    return f"leaderworkerset.sigs.k8s.io/name={name}"
