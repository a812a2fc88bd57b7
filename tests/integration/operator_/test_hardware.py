"""Replicas of one InferenceDeployment on nodes with different GPUs: each installs the bundle for its own GPU.

Only the nodes are simulated. Init containers are the real program, with the settings of their pod's template.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.kubectl import Kubectl
from support.archives import entry, packed, plain
from support.driver import Driver, Writes
from support.kubelet import bind
from support.objects import inference_deployment, pod_template
from support.proc import node
from support.s3 import S3
from tunecast_core.bundle.archive import END
from tunecast_core.records.codec import decode
from tunecast_core.records.manifest import Archive
from tunecast_core.records.report import InitReport
from tunecast_operator.conditions import find
from tunecast_operator.runtime.cluster import CONFIG_MAP, DEPLOYMENT, EVENT, INFERENCE_DEPLOYMENT, JOB, POD

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]
NUMBERS = itertools.count()
H100, L4, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA L4", "NVIDIA A100-SXM4-80GB"
NAMES = {
    H100: "nvidia-h100-80gb-hbm3-x86-64",
    L4: "nvidia-l4-x86-64",
    A100: "nvidia-a100-sxm4-80gb-x86-64",
}
LABEL = "nvidia.com/gpu.product"
GPU = {"limits": {"nvidia.com/gpu": "1"}}


@dataclass(frozen=True)
class Start:
    """The report of an init container, and the files that it installed."""

    message: str
    files: dict[str, bytes]

    @property
    def report(self) -> InitReport:
        return decode(InitReport, self.message.encode(), "report")


class Fleet:
    """An InferenceDeployment, and the nodes to which its replicas are bound."""

    def __init__(self, driver: Driver, s3: S3, folder: Path) -> None:
        self.driver, self._s3, self._folder = driver, s3, folder

    def create(self, replicas: int, **tuning: Any) -> None:
        spec = {"replicas": replicas, "template": pod_template(resources=GPU), "tuning": {"ranks": 1, **tuning}}
        owner = {**inference_deployment(**spec), "metadata": {"name": "qwen3", "namespace": self.driver.namespace}}
        self.driver.plain.create(INFERENCE_DEPLOYMENT, owner)

    def patch(self, **spec: Any) -> None:
        self.driver.plain.merge(INFERENCE_DEPLOYMENT, self.driver.namespace, "qwen3", {"spec": spec})

    def tunes_on(self, product: str) -> None:
        """Sets what ranks stage; ranks without a required GPU are scheduled to a node with this product."""
        data = f"compiled on {product}".encode()
        file = entry("vllm/torch_compile_cache/model", data)
        staged = packed([file], plain(file, data) + END)
        kubelet = self.driver.kubelet
        kubelet.archive, kubelet.staged = (
            Archive("TorchCompile", hashlib.sha256(staged).hexdigest(), len(staged), file.size, 1),
            staged,
        )
        kubelet.hardware = NAMES[product]

    def start(self, product: str, *, labelled: bool = True) -> Start:
        """Schedules the next pending replica to a node with ``product``, and runs its init container."""
        pod = self.driver.until(self._unscheduled, "a replica is to be scheduled")
        labels = {LABEL: product.replace(" ", "-")} if labelled else {}
        bind(self.driver.plain, pod, f"{'node' if labelled else 'plain'}-{NAMES[product]}", **labels)
        start = self._init(pod, product)
        init = {"terminated": {"exitCode": 0, "message": start.message, "finishedAt": "2026-01-01T10:00:00Z"}}
        status = {"restartCount": 0, "ready": True, "image": "x", "imageID": ""}
        found = self.driver.plain.get(POD, self.driver.namespace, pod["metadata"]["name"]) or {}
        found["status"] |= {
            "phase": "Running",
            "initContainerStatuses": [{**status, "name": "tunecast-init", "state": init}],
            "containerStatuses": [{**status, "name": "engine", "state": {"running": {}}}],
        }
        self.driver.plain.update_status(POD, found)
        return start

    def _unscheduled(self) -> Any:
        pods = self.driver.plain.list(POD, self.driver.namespace, "tunecast.io/inference-deployment=qwen3")
        return next((pod for pod in pods if not pod["spec"].get("nodeName")), None)

    def _init(self, pod: dict[str, Any], product: str) -> Start:
        """Runs the real program with the pod's variables and the files of the node's driver."""
        folder = self._folder / pod["metadata"]["name"]
        mount, trust, log = folder / "mount", folder / "trust", folder / "log"
        mount.mkdir(parents=True)
        trust.mkdir()
        found = self.driver.plain.get(CONFIG_MAP, self.driver.namespace, "tunecast-trust") or {}
        (trust / "trust.json").write_text(found["data"]["trust.json"])
        [container] = (c for c in pod["spec"]["initContainers"] if c["name"] == "tunecast-init")
        variables = {
            **{v["name"]: v["value"] for v in container["env"] if v.get("value")},
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}/core:{ROOT}/initcontainer",
            **self._s3.environment,
            "TUNECAST_NAMESPACE": self.driver.namespace,
            "TUNECAST_MOUNT_PATH": str(mount),
            "TUNECAST_TRUST": str(trust),
            "TUNECAST_TERMINATION_LOG": str(log),
            "TUNECAST_PROC": str(node(folder / "proc", product)),
        }
        subprocess.run([sys.executable, "-m", "tunecast_init", "fetch"], env=variables, timeout=60, check=True)
        files = {str(p.relative_to(mount)): p.read_bytes() for p in mount.rglob("*") if p.is_file()}
        return Start(log.read_text(), files)

    @property
    def caches(self) -> dict[str, str]:
        """Returns the state of each StartupCache in status, by hardware."""
        return {c.get("hardware", ""): c["state"] for c in self.driver.deployment_status().get("startupCaches", ())}

    def until_ready(self, *products: str) -> None:
        names = {NAMES[product]: "Ready" for product in products}
        self.driver.until(lambda: self.caches == names, f"{products} are tuned for")

    @property
    def missing(self) -> Any:
        return find(self.driver.deployment_status(), "BundleMissing")

    @property
    def generation(self) -> int:
        found = self.driver.plain.get(DEPLOYMENT, self.driver.namespace, "qwen3") or {}
        return int(found["metadata"]["generation"])


@pytest.fixture
def fleet(kubernetes: Kubectl, s3_credentials: S3, tmp_path: Path) -> Fleet:
    namespace = f"hardware-{next(NUMBERS)}"
    kubernetes("create", "namespace", namespace)
    driver = Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), namespace)
    return Fleet(driver, s3_credentials, tmp_path)


def compiled_on(product: str) -> dict[str, bytes]:
    return {"vllm/torch_compile_cache/model": f"compiled on {product}".encode()}


def test_each_replica_installs_the_bundle_of_its_own_gpu_and_nothing_rolls(fleet: Fleet) -> None:
    fleet.tunes_on(H100)
    fleet.create(replicas=2)
    fleet.until_ready(H100)
    assert fleet.start(H100).files == compiled_on(H100)
    cold = fleet.start(L4)
    assert (cold.report.reason, cold.files) == ("NoBundleForThisGPU", {})
    generation = fleet.generation

    fleet.tunes_on(L4)
    fleet.driver.until(lambda: fleet.missing, "status reports the missing bundle")
    assert (fleet.missing["status"], fleet.missing["reason"]) == ("True", "TuningForHardware")
    assert f"1 replica(s) on {NAMES[L4]} started cold" in fleet.missing["message"]
    fleet.until_ready(H100, L4)
    assert not fleet.missing
    events = fleet.driver.plain.list(EVENT, fleet.driver.namespace)
    assert "TuningForHardware" in {event["reason"] for event in events}

    assert fleet.generation == generation, "nothing rolls"
    fleet.patch(replicas=4)
    assert fleet.start(L4).files == compiled_on(L4)
    assert fleet.start(H100).files == compiled_on(H100)


def test_ranks_for_another_gpu_go_to_nodes_that_are_labelled_with_it(fleet: Fleet) -> None:
    fleet.tunes_on(H100)
    fleet.create(replicas=1)
    fleet.until_ready(H100)
    fleet.start(L4)
    fleet.until_ready(H100, L4)
    jobs = fleet.driver.plain.list(JOB, fleet.driver.namespace)
    affinities = [job["spec"]["template"]["spec"].get("affinity") for job in jobs]
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    expression = {"key": LABEL, "operator": "In", "values": ["NVIDIA-L4"]}
    wanted = {"nodeAffinity": {required: {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}
    assert [affinity for affinity in affinities if affinity] == [wanted]


def test_hardware_beyond_the_limit_starts_cold_until_the_limit_is_raised(fleet: Fleet) -> None:
    fleet.tunes_on(H100)
    fleet.create(replicas=1, hardwareLimit=1)
    fleet.until_ready(H100)
    fleet.start(A100)
    fleet.driver.until(lambda: fleet.missing, "status reports the missing bundle")
    assert fleet.missing["reason"] == "HardwareLimitReached"
    assert set(fleet.caches) == {NAMES[H100]}
    fleet.patch(tuning={"hardwareLimit": 2})
    fleet.until_ready(H100, A100)


def test_the_first_cache_keeps_its_own_bundle_beside_others_of_its_key(fleet: Fleet) -> None:
    fleet.tunes_on(L4)
    fleet.create(replicas=2)
    fleet.until_ready(L4)
    fleet.start(L4)
    fleet.start(A100)
    fleet.until_ready(L4, A100)
    manifests = {cache["status"]["hardware"]: cache["status"]["manifest"] for cache in fleet.driver.caches()}
    assert manifests.keys() == {NAMES[L4], NAMES[A100]}
    for _ in range(3):
        fleet.driver.step()
    found = {cache["status"]["hardware"]: cache["status"]["manifest"] for cache in fleet.driver.caches()}
    assert found == manifests


def test_hardware_whose_nodes_are_gone_takes_no_place(fleet: Fleet, kubernetes: Kubectl) -> None:
    fleet.tunes_on(H100)
    fleet.create(replicas=1, hardwareLimit=2)
    fleet.until_ready(H100)
    fleet.driver.kubelet.ranks = ()
    fleet.start(L4, labelled=False)
    fleet.driver.until(lambda: fleet.caches.get(NAMES[L4]) == "Pending", "tuning for the L4 is queued")

    kubernetes("delete", "node", f"plain-{NAMES[L4]}")
    kubernetes("delete", "pods", "--all", "--namespace", fleet.driver.namespace, "--force", "--grace-period=0")
    fleet.driver.now += timedelta(minutes=15)
    fleet.driver.restart(Writes())
    fleet.driver.until(lambda: set(fleet.caches) == {NAMES[H100]}, "the StartupCache for the L4 goes")
    fleet.tunes_on(A100)
    fleet.driver.kubelet.ranks = None
    fleet.start(A100)
    fleet.until_ready(H100, A100)
