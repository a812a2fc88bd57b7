"""The main use: apply, tune on two ranks, prove, publish, serve warm, and scale out warm without the operator."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from e2e.steps import (
    TUNE_SECONDS,
    cache_of,
    init_report,
    our_events,
    rank_pods,
    serving_pods,
    until_cache,
    until_ready,
)  # fmt: skip
from e2e.world import World, metrics
from harness import deploy
from harness.kubectl import Object, wait_for
from harness.usage import operator_usage

pytestmark = pytest.mark.e2e
NAMESPACE, NAME = "warm", "tiny"
QUIET_SECONDS = 30.0


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[World]:
    """A World with an InferenceDeployment that is tuned and serves."""
    world.namespace(NAMESPACE)
    world.apply(NAME, NAMESPACE)
    until_cache(world.kubectl, NAME, NAMESPACE, {"Published", "Ineffective", "AttemptsExhausted"})
    until_ready(world.kubectl, NAME, NAMESPACE)
    yield world
    world.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_the_proof(served: World) -> None:
    """The proof compares a peer's warm start with rank 0's cold start, layer by layer."""
    proof = cache_of(served.kubectl, NAME, NAMESPACE)["status"]["proof"]
    [rank] = proof["ranks"]
    assert proof["mode"] == "Peer"
    assert rank["warm"]["totalSeconds"] <= 0.55 * proof["cold"]["totalSeconds"]
    assert rank["warm"]["initSeconds"] <= 0.3 * proof["cold"]["initSeconds"]
    assert {layer["layer"]: (layer["verdict"], layer["rebuilt"]) for layer in rank["layers"]} == {
        "PythonBytecode": ("Hit", 0),
        "TorchCompile": ("Hit", 0),
        "VllmMeta": ("Hit", 0),
    }
    assert proof["outputs"] == "Identical"


def test_its_finished_job_stays_for_its_logs(served: World) -> None:
    """Its pods have no sidecar, so they stay as long as the finished Job."""
    [job] = served.kubectl.items("jobs", "-n", NAMESPACE)
    assert job["status"]["succeeded"] == 2
    logs = [
        served.kubectl("logs", "-n", NAMESPACE, pod["metadata"]["name"], "-c", "vllm")
        for pod in rank_pods(served.kubectl, NAMESPACE)
    ]
    assert len(logs) == 2
    assert all("tunecast rank" in log for log in logs)


def test_kubectl_columns_show_the_outcome(served: World) -> None:
    columns = served.kubectl("get", "inferencedeployments", "-n", NAMESPACE).splitlines()
    assert columns[0].split() == ["NAME", "MODEL", "READY", "DESIRED", "CACHE", "COLD", "WARM", "AGE"]
    assert columns[1].split()[1:5] == ["/models/tiny", "1", "1", "Hit"]
    caches = served.kubectl("get", "startupcaches", "-n", NAMESPACE)
    assert re.search(r"/models/tiny +Ready +[0-9.]+ MiB +[0-9.]+s +[0-9.]+s +[0-9.]+x", caches)


def test_events_read_like_a_log(served: World) -> None:
    events = our_events(served.kubectl, NAMESPACE)
    assert max(Counter(events).values()) == 1
    assert {"Queued", "Tuning", "Publishing", "Published"} <= {
        reason for kind, _, reason in events if kind == "StartupCache"
    }


def test_the_replica_started_warm(served: World) -> None:
    [pod] = serving_pods(served.kubectl, NAME, NAMESPACE)
    report = init_report(pod)
    assert (report["result"], report["reason"]) == ("Hit", "Installed")
    assert set(report["layers"]) == {"PythonBytecode", "TorchCompile", "VllmMeta"}
    cold = cache_of(served.kubectl, NAME, NAMESPACE)["status"]["proof"]["cold"]
    assert own_init_seconds(served, pod) <= 0.5 * cold["initSeconds"]


def own_init_seconds(world: World, pod: Object) -> float:
    log = world.kubectl("logs", "-n", NAMESPACE, pod["metadata"]["name"], "-c", "vllm")
    found = re.search(r"init engine \(.*\) took ([0-9.]+) s", log)
    assert found, log[-2000:]
    return float(found[1])


def test_its_metrics_agree_with_its_status(served: World) -> None:
    cache = cache_of(served.kubectl, NAME, NAMESPACE)
    name = cache["metadata"]["name"]
    samples = metrics(served)
    ours = f'name="{name}",namespace="{NAMESPACE}"'
    assert samples[f'tunecast_startup_cache_state{{{ours},state="Ready"}}'] == "1.0"
    cold = samples[f'tunecast_startup_cache_start_seconds{{{ours},phase="total",start="cold"}}']
    assert float(cold) == cache["status"]["proof"]["cold"]["totalSeconds"]
    assert float(samples['tunecast_tuning_attempts_total{result="Published"}']) >= 1
    assert float(samples['tunecast_init_containers_total{reason="Installed",result="Hit"}']) >= 1
    assert float(samples["tunecast_init_bytes_total"]) > 0
    for kind in ("StartupCache", "InferenceDeployment"):
        bugs = samples[f'tunecast_reconciles_total{{kind="{kind}",result="Bug"}}']
        assert bugs == "0.0", served.kubectl("logs", "-n", deploy.SYSTEM_NAMESPACE, "deployment/tunecast")


def test_ranks_hold_no_credentials_and_no_serving_labels(served: World) -> None:
    for pod in rank_pods(served.kubectl, NAMESPACE):
        assert "tunecast.io/inference-deployment" not in pod["metadata"]["labels"]
        assert pod["spec"]["automountServiceAccountToken"] is False
        names = [v["name"] for c in pod["spec"]["containers"] for v in c.get("env", [])]
        assert not [name for name in names if name.startswith(("AWS_", "TUNECAST_"))]


def test_a_quiet_cluster_sees_no_write_and_hardly_an_operator(served: World) -> None:
    """Measures for half a minute; `bench/idle.py` measures for ten."""
    wait_for(lambda: nothing_is_tuned(served), "all tuning has ended", TUNE_SECONDS)
    before = operator_usage(served.kubectl, served.environment)
    assert before.writes > 0
    end = time.monotonic() + QUIET_SECONDS
    wait_for(lambda: time.monotonic() > end, "quiet seconds", QUIET_SECONDS + 10, every=1)
    after = operator_usage(served.kubectl, served.environment)
    assert after.writes == before.writes
    assert after.memory < 150
    assert (after.cpu - before.cpu) / QUIET_SECONDS < 0.01


def test_an_emptied_trust_config_map_is_restored_at_once(served: World) -> None:
    """Without the operator's watch the ConfigMap would stay empty until the next resync, ten minutes later."""
    patch = json.dumps({"data": {"trust.json": "{}"}})
    served.kubectl("patch", "configmap", "tunecast-trust", "-n", NAMESPACE, "--type=merge", "-p", patch)

    def trusted_keys() -> Object:
        found = served.kubectl.get("configmap", "tunecast-trust", "-n", NAMESPACE)
        keys: Object = json.loads(found["data"]["trust.json"]).get("keys", {})
        return keys

    wait_for(trusted_keys, "the trust ConfigMap holds the public keys again", 30)


def nothing_is_tuned(world: World) -> bool:
    """Returns whether other tests' tunings, which share the machine, have ended."""
    statuses = [cache.get("status", {}) for cache in world.kubectl.items("startupcaches", "--all-namespaces")]
    wanted = [status for status in statuses if status.get("referredBy")]
    return all(status["state"] in {"Ready", "Ineffective", "Failed", "Quarantined"} for status in wanted)


def test_scale_out_is_warm_while_the_operator_is_off(served: World) -> None:
    kubectl, system = served.kubectl, deploy.SYSTEM_NAMESPACE
    kubectl("scale", "deployment", "tunecast", "-n", system, "--replicas=0")
    try:
        kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=tunecast", "-n", system, "--timeout=60s")
        kubectl("scale", "deployment", NAME, "-n", NAMESPACE, "--replicas=2")
        kubectl("rollout", "status", f"deployment/{NAME}", "-n", NAMESPACE, "--timeout=300s", timeout=330)
        reports = [init_report(pod)["result"] for pod in serving_pods(kubectl, NAME, NAMESPACE)]
    finally:
        kubectl("scale", "deployment", "tunecast", "-n", system, "--replicas=1")
        kubectl("rollout", "status", "deployment/tunecast", "-n", system, "--timeout=120s")
    assert reports == ["Hit", "Hit"]
    wait_for(
        lambda: kubectl.get("infd", NAME, "-n", NAMESPACE)["status"].get("readyReplicas") == 2, "status follows", 60
    )


def test_another_with_the_same_key_tunes_nothing(served: World) -> None:
    before = len(served.kubectl.items("jobs", "-n", NAMESPACE))
    served.apply("twin", NAMESPACE, replicas=0)
    until_cache(served.kubectl, "twin", NAMESPACE, {"Published"}, 60)
    assert len(served.kubectl.items("jobs", "-n", NAMESPACE)) == before
    served.kubectl("delete", "infd", "twin", "-n", NAMESPACE)


def engine_runs(world: World, name: str) -> bool:
    [pod] = serving_pods(world.kubectl, name, NAMESPACE)
    return any("running" in status["state"] for status in pod["status"]["containerStatuses"])


def init_restarts(world: World, name: str) -> int:
    [pod] = serving_pods(world.kubectl, name, NAMESPACE)
    return int(pod["status"]["initContainerStatuses"][0]["restartCount"])


@pytest.mark.parametrize(("name", "on_failure"), [("denied", "ServeCold"), ("blocked", "Block")])
def test_a_replica_that_may_not_read_the_bucket(served: World, name: str, on_failure: str) -> None:
    """The replica starts cold, or stays in its init container, and status has the reason."""
    wrong = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
    secret = deploy.s3_secret(NAMESPACE, wrong)
    served.kubectl.apply({**secret, "metadata": {"name": "wrong", "namespace": NAMESPACE}})
    cache = {"credentialsSecret": {"name": "wrong"}, "onFailure": on_failure}
    served.apply(name, NAMESPACE, replicas=1, cache=cache)

    def reported() -> Object | None:
        reports = (served.kubectl.get("infd", name, "-n", NAMESPACE).get("status") or {}).get("initReports") or {}
        return reports if reports.get("counts") else None

    reports = wait_for(reported, f"{name}'s init container has reported", 120)
    assert reports["counts"] == [{"reason": "AccessDenied", "count": 1}]
    assert "credentials" in reports["lastMessage"]
    if on_failure == "ServeCold":
        wait_for(lambda: engine_runs(served, name), f"the engine of {name} starts", 60)
    else:
        wait_for(lambda: init_restarts(served, name) > 0, f"{name}'s init container is tried again", 120)
        assert not engine_runs(served, name)
    served.kubectl("delete", "infd", name, "-n", NAMESPACE)


def test_deleting_it_leaves_nothing_but_the_cache(served: World) -> None:
    served.kubectl("delete", "infd", NAME, "-n", NAMESPACE)
    mine = f"tunecast.io/inference-deployment={NAME}"

    def gone() -> bool:
        return not served.kubectl.items("deployments,replicasets,services,pods", "-n", NAMESPACE, "-l", mine)

    wait_for(gone, "its children are gone", 120)
    assert len(served.kubectl.items("startupcaches", "-n", NAMESPACE)) == 1
