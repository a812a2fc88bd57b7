"""A store that accepts connections and never answers delays tuning, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.kubectl import Kubectl
from support.faulty_s3 import Fault, FaultyS3, faulty
from support.objects import inference_deployment, pod_template
from support.operator_process import environment, operator
from support.s3 import S3
from tunecast_core.trust.settings import StoreSettings
from tunecast_operator.runtime.cluster import DEPLOYMENT, INFERENCE_DEPLOYMENT, Cluster, connect

pytestmark = pytest.mark.integration
NAMESPACE = "stalled"
CACHES = 8  # twice as many as there are workers for StartupCaches
SCALED_SECONDS = 2.0  # deadline for a change of replicas to reach the Deployment


@pytest.fixture
def store(s3_credentials: S3) -> Iterator[FaultyS3]:
    with faulty(s3_credentials.endpoint, lambda *_: Fault.STALL) as proxy:
        proxy.stall_seconds = 600.0
        yield proxy


@pytest.fixture
def cluster(kubernetes: Kubectl) -> Cluster:
    kubernetes("create", "namespace", NAMESPACE)
    return connect(1, kubernetes.environment["KUBECONFIG"])


def apply(cluster: Cluster, name: str, replicas: int) -> None:
    """Applies InferenceDeployments with different keys, which serve while they are tuned."""
    template = pod_template(f"--revision={name}")
    owner = inference_deployment(replicas=replicas, template=template, tuning={"policy": "ServeWhileTuning"})
    owner["metadata"] = {"name": name, "namespace": NAMESPACE}
    cluster.apply(INFERENCE_DEPLOYMENT, owner)


def replicas(cluster: Cluster, name: str) -> Any:
    found = cluster.get(DEPLOYMENT, NAMESPACE, name)
    return found and found["spec"]["replicas"]


def until(seen: Callable[[], Any], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def test_a_change_of_replicas_waits_for_no_store(
    kubernetes: Kubectl, cluster: Cluster, store: FaultyS3, s3_credentials: S3, tmp_path: Path
) -> None:
    names = [f"model-{number}" for number in range(CACHES)]
    for name in names:
        apply(cluster, name, 1)
    settings = StoreSettings("bundles", endpoint=store.endpoint)
    kubeconfig = kubernetes.environment["KUBECONFIG"]
    with operator(environment(kubeconfig, NAMESPACE, settings, s3_credentials.environment), tmp_path):
        until(lambda: all(replicas(cluster, name) == 1 for name in names), "every Deployment", 60)
        until(lambda: len(store.times) >= 4, "every worker for StartupCaches asks the store", 60)
        for wanted in range(2, 12):
            name = names[wanted % CACHES]
            apply(cluster, name, wanted)
            until(lambda name=name, wanted=wanted: replicas(cluster, name) == wanted, f"{name} scales", SCALED_SECONDS)  # type: ignore[misc]
