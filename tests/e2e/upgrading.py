"""Records what an upgrade must not change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from e2e.standin import script, standin
from e2e.steps import serving_pods, until_ready
from e2e.world import World

NAMESPACE, NAME = "upgrade", "old"
EARLIER = "earlier"  # tag of the images before the upgrade


@dataclass(frozen=True)
class Served:
    """State of replicas and tunings that an upgrade could disturb."""

    template: dict[str, Any]
    pods: dict[str, int]  # restarts of all containers, by uid of the pod
    attempts: dict[str, int]  # number of attempts by StartupCache
    jobs: frozenset[str]  # uids
    kinds: dict[str, str]  # uids of the CRDs, by name


def serve(world: World) -> Served:
    """Has the installed operator tune and serve an InferenceDeployment."""
    world.namespace(NAMESPACE)
    world.kubectl.apply(script(NAMESPACE))
    world.kubectl.apply(standin(NAME, NAMESPACE, replicas=1, tuning={"ranks": 1}))
    until_ready(world.kubectl, NAME, NAMESPACE, 180)
    return seen(world)


def seen(world: World) -> Served:
    pods = serving_pods(world.kubectl, NAME, NAMESPACE)
    caches = world.kubectl.items("startupcaches", "-n", NAMESPACE)
    kinds = world.kubectl.items("crds", "-l", "app.kubernetes.io/name=tunecast")
    return Served(
        template=world.kubectl.get("deployment", NAME, "-n", NAMESPACE)["spec"]["template"],
        pods={pod["metadata"]["uid"]: _restarts(pod) for pod in pods},
        attempts={cache["metadata"]["name"]: cache["status"]["attempt"] for cache in caches},
        jobs=frozenset(job["metadata"]["uid"] for job in world.kubectl.items("jobs", "-n", NAMESPACE)),
        kinds={kind["metadata"]["name"]: kind["metadata"]["uid"] for kind in kinds},
    )


def _restarts(pod: dict[str, Any]) -> int:
    return sum(status["restartCount"] for status in pod["status"]["containerStatuses"])
