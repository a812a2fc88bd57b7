"""One InferenceDeployment on three nodes with different GPUs: each replica installs the bundle for its own GPU.

The GPUs are labels, and files like a driver's in procfs, which pods find through ``TUNECAST_PROC``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e.standin import script, standin
from e2e.steps import engine_of, init_report, our_events, serving_pods
from e2e.world import World
from harness import deploy
from harness.kubectl import Kubectl, Object, condition, wait_for

pytestmark = pytest.mark.e2e
NAME, NAMESPACE = "tiny", "models"
PRODUCTS = ("NVIDIA H100 80GB HBM3", "NVIDIA L4", "NVIDIA A100-SXM4-80GB")
HARDWARE = ("nvidia-h100-80gb-hbm3-x86-64", "nvidia-l4-x86-64", "nvidia-a100-sxm4-80gb-x86-64")
ENVIRONMENT = [
    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    {"name": "TUNECAST_PROC", "value": "/gpus/$(NODE)"},
]
MOUNT = {"name": "gpus", "mountPath": "/gpus"}
SECONDS = 180.0  # for a tuning and the steps after it


@dataclass(frozen=True)
class Fleet:
    """The InferenceDeployment whose replicas are spread over the nodes."""

    kubectl: Kubectl
    nodes: dict[str, str]  # hardware by node

    @property
    def replicas(self) -> dict[str, Object]:
        """Returns the replicas by the hardware of their node, without terminating ones."""
        found = serving_pods(self.kubectl, NAME, NAMESPACE)
        living = [pod for pod in found if not pod["metadata"].get("deletionTimestamp") and pod["spec"].get("nodeName")]
        return {self.nodes[pod["spec"]["nodeName"]]: pod for pod in living}

    def reports(self) -> dict[str, Object]:
        """Returns the reports of the init containers, or nothing until all have ended."""
        try:
            return {hardware: init_report(pod) for hardware, pod in self.replicas.items()}
        except KeyError:
            return {}

    def until_started(self, count: int) -> dict[str, Object]:
        def look() -> dict[str, Object] | None:
            found = self.reports()
            return found if len(found) == count else None

        return wait_for(look, f"{count} replicas started", SECONDS)

    @property
    def object(self) -> Object:
        return self.kubectl.get("infd", NAME, "-n", NAMESPACE)

    def until_tuned(self, *hardware: str) -> dict[str, str]:
        """Waits until every hardware has a Ready StartupCache; returns the manifests by hardware."""

        def look() -> dict[str, str] | None:
            found = self.object["status"].get("startupCaches", ())
            ready = {cache["hardware"]: cache["name"] for cache in found if cache["state"] == "Ready"}
            return ready if ready.keys() == set(hardware) and not condition(self.object, "BundleMissing") else None

        names = wait_for(look, f"{hardware} are tuned for", SECONDS)
        caches = {hw: self.kubectl.get("stc", name, "-n", NAMESPACE) for hw, name in names.items()}
        return {hw: str(cache["status"]["manifest"]) for hw, cache in caches.items()}

    def until_missing(self, hardware: str) -> Object:
        def look() -> Object | None:
            found = condition(self.object, "BundleMissing")
            return found if hardware in found.get("message", "") else None

        return wait_for(look, f"status reports that {hardware} has no bundle", 60)

    def replace(self, hardware: str) -> Object:
        """Deletes the replica on ``hardware``; returns the report of its successor's init container."""
        old = self.replicas[hardware]["metadata"]
        self.kubectl("delete", "pod", old["name"], "-n", NAMESPACE, "--grace-period=1")

        def look() -> Object | None:
            pod = self.replicas.get(hardware)
            return self.reports().get(hardware) if pod and pod["metadata"]["uid"] != old["uid"] else None

        return wait_for(look, f"another replica on {hardware}", 60)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Serves on two nodes; the third node accepts no pods yet."""
    name = f"gpus-{os.getpid()}"
    try:
        deploy.build()
        deploy.cluster("up", "--nodes=3", "--name", name)
        deploy.load_images("--name", name)
        environment = deploy.cluster_environment("--name", name)
        world = World(Kubectl(environment), environment)
        yield begin(world, (name, f"{name}-2", f"{name}-3"))
    finally:
        deploy.cluster("down", "--name", name)


def begin(world: World, nodes: tuple[str, ...]) -> Fleet:
    kubectl = world.kubectl
    for node, product in zip(nodes, PRODUCTS, strict=True):
        kubectl("label", "node", node, "--overwrite", f"nvidia.com/gpu.product={product.replace(' ', '-')}")
    kubectl("cordon", nodes[2])
    world.namespace(deploy.SYSTEM_NAMESPACE)
    volume = {"name": "gpus", "configMap": {"name": "gpus", "items": [*map(_item, nodes)], "optional": True}}
    init = {"extraEnv": ENVIRONMENT, "extraVolumes": [volume], "extraVolumeMounts": [MOUNT]}
    deploy.install(kubectl, deploy.values(world.environment, initContainer=init))
    world.namespace(NAMESPACE)
    kubectl.apply(script(NAMESPACE), _gpus(nodes), spread(volume))
    return Fleet(kubectl, dict(zip(nodes, HARDWARE, strict=True)))


def _item(node: str) -> Object:
    return {"key": node, "path": f"{node}/driver/nvidia/gpus/0000:00:00.0/information"}


def _gpus(nodes: tuple[str, ...]) -> Object:
    data = {node: f"Model: \t\t {product}\n" for node, product in zip(nodes, PRODUCTS, strict=True)}
    metadata = {"name": "gpus", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def spread(volume: Object) -> Object:
    """Returns two replicas with one GPU each, on different nodes."""
    found = standin(NAME, NAMESPACE, replicas=2, tuning={"ranks": 1})
    engine, pod = engine_of(found), found["spec"]["template"]["spec"]
    engine["env"] += ENVIRONMENT
    engine["volumeMounts"].append(MOUNT)
    engine["resources"]["limits"] = {"nvidia.com/gpu": 1}
    pod["volumes"].append(volume)
    pod["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": {"matchLabels": {"tunecast.io/inference-deployment": NAME}},
        }
    ]
    return found


def test_each_replica_installs_the_bundle_of_its_own_gpu_and_a_third_gpu_is_tuned_for(fleet: Fleet) -> None:
    reports = fleet.until_started(2)
    assert sorted(report["reason"] for report in reports.values()) == ["Installed", "NoBundleForThisGPU"]
    assert {hardware: report["hardware"] for hardware, report in reports.items()} == {h: h for h in HARDWARE[:2]}
    manifests = fleet.until_tuned(*HARDWARE[:2])
    [cold] = (hardware for hardware, report in reports.items() if report["result"] == "Cold")
    assert fleet.replace(cold)["result"] == "Hit"
    assert {hardware: report["manifest"] for hardware, report in fleet.until_started(2).items()} == manifests
    assert len({*manifests.values()}) == 2

    third = HARDWARE[2]
    fleet.kubectl("uncordon", next(node for node, hardware in fleet.nodes.items() if hardware == third))
    fleet.kubectl("scale", f"infd/{NAME}", "-n", NAMESPACE, "--replicas=3")
    report = fleet.until_started(3)[third]
    assert (report["result"], report["reason"]) == ("Cold", "NoBundleForThisGPU")
    assert HARDWARE[0] in report["message"]
    assert fleet.until_missing(third)["reason"] == "TuningForHardware"
    manifests = fleet.until_tuned(*HARDWARE)
    assert fleet.replace(third)["manifest"] == manifests[third]


def test_tuning_for_another_gpu_rolls_nothing(fleet: Fleet) -> None:
    sets = fleet.kubectl.items("replicasets", "-n", NAMESPACE)
    assert [replica_set["spec"]["replicas"] for replica_set in sets] == [3]


def test_events_report_tuning_for_further_hardware(fleet: Fleet) -> None:
    assert ("InferenceDeployment", NAME, "TuningForHardware") in our_events(fleet.kubectl, NAMESPACE)


def test_ranks_for_each_gpu_ran_on_a_node_that_has_it(fleet: Fleet) -> None:
    caches = fleet.kubectl.items("startupcaches", "-n", NAMESPACE)
    hardware = {cache["metadata"]["name"]: cache["status"]["hardware"] for cache in caches}
    ranks = fleet.kubectl.items("pods", "-n", NAMESPACE, "-l", "tunecast.io/startup-cache")
    ran = {hardware[pod["metadata"]["labels"]["tunecast.io/startup-cache"]]: pod["spec"]["nodeName"] for pod in ranks}
    assert {name: fleet.nodes[node] for name, node in ran.items()} == {h: h for h in HARDWARE}
