"""The whole operator as a process: tunings in turn, and the metrics of adopted pods."""

from __future__ import annotations

import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.kubectl import Kubectl, wait_for
from support.kubelet import Kubelet
from support.objects import inference_deployment, pod_template
from support.operator_process import environment, operator
from support.s3 import S3
from tunecast_operator import times
from tunecast_operator.plan.outcome import finished
from tunecast_operator.runtime.cluster import JOB, POD, STARTUP_CACHE, Cluster, ConflictError, connect

pytestmark = pytest.mark.integration
SYSTEM, NAMESPACE = "in-turn-system", "in-turn"  # the operator adopts no pods of its own namespace
NAMES = ("first", "second", "third")
AT_ONCE = timedelta(seconds=15)  # the next attempt begins long before the StartupCache is requeued


@pytest.fixture
def cluster(kubernetes: Kubectl) -> Cluster:
    for namespace in (SYSTEM, NAMESPACE):
        kubernetes("create", "namespace", namespace)
    return connect(1, kubernetes.environment["KUBECONFIG"])


def owner(name: str) -> dict[str, Any]:
    template = pod_template(image=f"vllm:{name}")
    found = inference_deployment(replicas=1, template=template, tuning={"ranks": 1})
    return {**found, "metadata": {"name": name, "namespace": NAMESPACE}}


def missed_pod() -> dict[str, Any]:
    metadata = {"name": "missed", "namespace": NAMESPACE, "labels": {"tunecast.io/inject": "true"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_template(image="vllm:first")["spec"]}


def test_tunings_follow_one_another_at_once_and_a_missed_pod_is_counted(
    kubernetes: Kubectl, cluster: Cluster, s3: S3, tmp_path: Path
) -> None:
    variables = environment(kubernetes.environment["KUBECONFIG"], NAMESPACE, s3.settings(), s3.environment)
    kubelet = Kubelet(cluster, NAMESPACE)
    kubernetes.apply(*map(owner, NAMES))
    cluster.create(POD, missed_pod())

    def all_ready() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert sum(not finished(job) for job in cluster.list(JOB, NAMESPACE)) <= 1
        try:
            kubelet.step()
        except ConflictError:
            return False
        caches = cluster.list(STARTUP_CACHE, NAMESPACE)
        states = {(cache.get("status") or {}).get("state") for cache in caches}
        return len(caches) >= len(NAMES) and states == {"Ready"}  # the pod may have one of its own, with first's key

    variables |= {"TUNECAST_NAMESPACE": SYSTEM, "TUNECAST_TUNING_MAX_CONCURRENT": "1"}
    with operator(variables, tmp_path) as process:
        wait_for(all_ready, "all of them have tuned", 120)
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{variables['TUNECAST_METRICS_PORT']}/metrics", timeout=5)
        with metrics:
            lines = metrics.read().decode().splitlines()
    assert f'tunecast_adopted_pods{{namespace="{NAMESPACE}",state="NotInjected"}} 1.0' in lines
    assert f'tunecast_adopted_pods{{namespace="{NAMESPACE}",state="Hit"}} 0.0' in lines
    tuned = [cache for cache in cluster.list(STARTUP_CACHE, NAMESPACE) if cache["status"].get("attempt")]
    begun = sorted(times.parse(job["metadata"]["creationTimestamp"]) for job in cluster.list(JOB, NAMESPACE))
    ended = sorted(times.parse(cache["status"]["finishedAt"]) for cache in tuned)
    assert (len(begun), len(ended)) == (len(NAMES), len(NAMES))
    assert [after - before < AT_ONCE for before, after in zip(ended, begun[1:], strict=False)] == [True, True]
