"""Both reconcilers on a real API server and a real S3 server; only the node is played."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness.kubectl import Kubectl
from support.driver import Driver, Killed, Writes
from support.kubelet import as_text
from support.objects import inference_deployment, pod_template, proof, serving_pod
from support.s3 import S3
from tunecast_cache import signing
from tunecast_cache.layout import staging_prefix
from tunecast_cache.records import decode
from tunecast_cache.trust import Trust
from tunecast_operator.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    INFERENCE_DEPLOYMENT,
    JOB,
    POD,
    SECRET,
    SERVICE,
    STARTUP_CACHE,
)
from tunecast_operator.resources.quarantine import Quarantine, quarantine_in

pytestmark = pytest.mark.integration
NUMBERS = itertools.count()
AT_ONCE = 4


@pytest.fixture
def driver(kubernetes: Kubectl, s3_credentials: S3) -> Driver:
    namespace = f"operator-{next(NUMBERS)}"
    kubernetes("create", "namespace", namespace)
    return Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), namespace)


def create(driver: Driver, name: str = "qwen3", **spec: Any) -> None:
    wanted = {"replicas": 2, "tuning": {"ranks": 2}, **spec}
    owner = inference_deployment(**{field: value for field, value in wanted.items() if value is not None})
    owner["metadata"] = {"name": name, "namespace": driver.namespace}
    driver.plain.create(INFERENCE_DEPLOYMENT, owner)


def change(driver: Driver, name: str = "qwen3", **spec: Any) -> None:
    found = driver.plain.get(INFERENCE_DEPLOYMENT, driver.namespace, name)
    assert found
    patch = {**inference_deployment(**{"replicas": 2, "tuning": {"ranks": 2}, **spec}), "metadata": found["metadata"]}
    patch["metadata"].pop("managedFields", None)
    driver.plain.apply(INFERENCE_DEPLOYMENT, patch)


def replicas(driver: Driver, name: str = "qwen3") -> Any:
    found = driver.plain.get(DEPLOYMENT, driver.namespace, name)
    return found and found["spec"]["replicas"]


def staged(driver: Driver) -> list[tuple[str, str]]:
    return driver.store.staged_jobs(driver.namespace)


def warm(driver: Driver) -> bool:
    return driver.deployment_status().get("cache") == "Hit" and replicas(driver) == 2


def test_apply_tune_publish_serve(driver: Driver) -> None:
    create(driver)
    driver.step()
    assert replicas(driver) == 0, "held until the cache is ready"
    driver.until(lambda: warm(driver), "replicas are let go")
    [cache] = driver.caches("Ready")
    assert (cache["status"]["cold"], cache["status"]["warm"]) == ("60.0s", "20.0s")
    assert staged(driver) == []
    assert driver.plain.list(JOB, driver.namespace)[0]["status"]["succeeded"] == 2
    assert driver.plain.list(SECRET, driver.namespace, f"tunecast.io/startup-cache={cache['metadata']['name']}") == []


def test_an_attempt_ends_with_its_engines_though_sidecars_go_on(driver: Driver) -> None:
    """The Job never finishes: its pods run on, so it is deleted, and with it the pods that hold GPUs."""
    driver.kubelet.sidecars = True
    create(driver)
    driver.until(lambda: warm(driver), "replicas are let go")
    assert staged(driver) == []
    driver.until(lambda: not driver.plain.list(JOB, driver.namespace), "its Job is gone")


def test_a_quiet_cluster_sees_no_write(driver: Driver) -> None:
    create(driver)
    driver.until(lambda: warm(driver), "replicas are let go")
    for _ in range(3):
        driver.step()
    driver.restart(Writes())
    for _ in range(10):
        driver.step()
    assert driver.writes.names == []


def test_events_read_like_a_log_without_repeats(driver: Driver) -> None:
    create(driver)
    driver.until(lambda: warm(driver), "replicas are let go")
    events = driver.plain.list(EVENT, driver.namespace)
    ours = [(e["involvedObject"]["kind"], e["reason"]) for e in events if e["source"].get("component") == "tunecast"]
    assert {"Queued", "Tuning", "Publishing", "Published"} <= {
        reason for kind, reason in ours if kind == "StartupCache"
    }
    assert max(Counter(ours).values()) == 1


def describe(driver: Driver) -> str:
    """All that a finished run leaves, without identities, moments and what a scheduler says of other tests' nodes."""
    kinds = (INFERENCE_DEPLOYMENT, STARTUP_CACHE, DEPLOYMENT, SERVICE, JOB)
    found = {kind.name: driver.plain.list(kind, driver.namespace) for kind in kinds}
    jobs = [{"name": job["metadata"]["name"], "spec": job["spec"]["completions"]} for job in found.pop("Job")]
    for owner in found["InferenceDeployment"]:
        owner["metadata"].pop("annotations", None)
    services = [service["metadata"]["name"] for service in found.pop("Service")]
    text = as_text({**found, "jobs": jobs, "services": services, "staged": staged(driver)})
    for cache in driver.caches():
        text = text.replace(cache["status"]["manifest"], "<digest>")
    text = re.sub(r"made [0-9TZ:-]+", "made <moment>", re.sub(r"qwen3-[0-9a-f]+-[0-9a-z]{5}", "<pod>", text))
    text = re.sub(r"(no nodes|\d+/\d+ nodes are) available[^\"]*", "<unscheduled>", text)
    return text.replace(driver.namespace, "<namespace>")


def run_to_the_end(driver: Driver) -> None:
    driver.until(lambda: warm(driver), "replicas are let go")
    for _ in range(3):
        driver.step()


def test_killed_after_any_write_it_ends_the_same(kubernetes: Kubectl, s3_credentials: S3) -> None:
    """For every write of a whole run: the operator ends right after it, another one starts, and the end is the same.

    Controllers are quicker or slower from run to run, so a write is known by its name and how often that came before.
    """
    private = signing.generate()

    def killed(number: int, last: tuple[str, int] | None) -> tuple[str, Driver, bool]:
        namespace = f"killed-{number}"
        kubernetes("create", "namespace", namespace)
        driver = Driver(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), namespace, private)
        create(driver)
        driver.restart(Writes(last))
        try:
            run_to_the_end(driver)
        except Killed:
            driver.restart(Writes())
            run_to_the_end(driver)
            return describe(driver), driver, True
        return describe(driver), driver, False

    expected, whole, _ = killed(0, None)
    writes = whole.writes.numbered
    was_killed = set()
    with ThreadPoolExecutor(AT_ONCE) as pool:  # each waits for controllers most of its time, in its own namespace
        for last, (end, _, happened) in zip(writes, pool.map(killed, itertools.count(1), writes), strict=True):
            assert end == expected, f"killed after {last}"
            was_killed |= {last} if happened else set()
    assert {name for name, _ in was_killed} == set(whole.writes.names), "no kind of write was left out"
    assert len(was_killed) > 20


def test_two_with_the_same_key_share_one_job_and_one_deleted_harms_nobody(driver: Driver) -> None:
    create(driver, "first")
    create(driver, "second")
    driver.kubelet.running_only = True
    driver.until(lambda: driver.caches("Tuning"), "it tunes")
    driver.plain.delete(INFERENCE_DEPLOYMENT, driver.namespace, "first")
    driver.kubelet.running_only = False
    driver.until(lambda: driver.deployment_status("second").get("cache") == "Hit", "the other one is warm")
    assert len(driver.plain.list(JOB, driver.namespace)) == 1


def test_the_job_of_a_cache_that_nobody_wants_goes_at_once(driver: Driver) -> None:
    create(driver)
    driver.kubelet.running_only = True
    driver.until(lambda: driver.caches("Tuning"), "it tunes")
    driver.plain.delete(INFERENCE_DEPLOYMENT, driver.namespace, "qwen3")
    driver.until(lambda: not driver.plain.list(JOB, driver.namespace), "its Job is gone")


def test_replicas_and_labels_tune_nothing_and_an_argument_does_while_the_old_serves(driver: Driver) -> None:
    driver.kubelet.serves = True
    create(driver)
    driver.until(lambda: warm(driver), "replicas are let go")
    driver.until(lambda: driver.deployment_status().get("readyReplicas") == 2, "they are ready")
    change(driver, replicas=3, template=pod_template(metadata={"labels": {"team": "a"}}))
    driver.until(lambda: replicas(driver) == 3, "three replicas")
    assert len(driver.caches()) == 1
    driver.kubelet.running_only = True
    change(driver, replicas=4, template=pod_template("--max-model-len=8192"))
    driver.until(lambda: driver.caches("Tuning"), "the new key is tuned")
    driver.until(lambda: replicas(driver) == 4, "the old revision scales")
    live = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    assert live
    assert arguments(driver) == []
    driver.kubelet.running_only = False
    driver.until(lambda: len(driver.caches("Ready")) == 2, "the new cache is ready")
    driver.until(lambda: "--max-model-len=8192" in arguments(driver), "the new revision rolls out")


def arguments(driver: Driver) -> list[str]:
    live = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    found: list[str] = (live or {})["spec"]["template"]["spec"]["containers"][0].get("args", [])
    return found


def test_the_strategy_of_a_live_deployment_changes(driver: Driver) -> None:
    """Defaults of the strategy before would be refused beside Recreate, which GPU fleets without spares need."""
    create(driver)
    driver.until(lambda: warm(driver), "replicas are let go")
    change(driver, strategy={"type": "Recreate"})
    driver.until(lambda: strategy(driver) == "Recreate", "the new strategy")
    driver.restart(Writes())
    driver.step()
    assert "PATCH Deployment" not in driver.writes.names


def strategy(driver: Driver) -> str:
    live = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    return str((live or {})["spec"]["strategy"]["type"])


def test_generation_tunes_again(driver: Driver) -> None:
    create(driver)
    driver.until(lambda: warm(driver), "replicas are let go")
    change(driver, tuning={"ranks": 2, "generation": 2})
    driver.until(lambda: len(driver.caches("Ready")) == 2, "tuned again")
    assert len(driver.plain.list(JOB, driver.namespace)) == 2


@pytest.mark.parametrize(("asked", "afterwards"), [({}, 2), ({"replicas": None}, 3)], ids=["the spec's", "its own"])
def test_what_an_administrator_releases_while_no_operator_runs_stays_released(
    driver: Driver, kubernetes: Kubectl, asked: dict[str, Any], afterwards: int
) -> None:
    driver.kubelet.running_only = True
    create(driver, **asked)
    driver.until(lambda: driver.caches("Tuning"), "it is tuned")
    found = kubernetes("get", "deployments", "-n", driver.namespace, "-l", "app.kubernetes.io/managed-by=tunecast")
    assert re.search(r"qwen3 +0/0", found), "held"
    kubernetes("scale", "deployment/qwen3", "--replicas=3", "-n", driver.namespace)
    driver.restart(Writes())
    for _ in range(3):
        driver.step()
    assert replicas(driver) == afterwards
    assert driver.deployment_status()["desiredReplicas"] == afterwards
    assert driver.caches("Tuning"), "and tuning goes on"


def test_a_hot_fix_of_a_revision_that_does_not_serve_is_not_withheld(driver: Driver) -> None:
    """Its replicas never become ready: what takes their place rolls out while its cache is tuned."""
    create(driver)
    driver.until(lambda: warm(driver), "replicas are let go")
    driver.kubelet.running_only = True
    change(driver, template=pod_template("--max-model-len=8192"))
    driver.until(lambda: driver.caches("Tuning"), "the new key is tuned")
    driver.until(lambda: "--max-model-len=8192" in arguments(driver), "the fix rolls out all the same")
    assert driver.caches("Tuning")


@pytest.mark.parametrize(
    ("failure", "state", "reason", "jobs"),
    [
        ("EngineRejectedArguments", "Failed", "EngineRejectedArguments", 1),
        ("EngineCrashed", "Failed", "AttemptsExhausted", 3),
    ],
)
def test_tuning_that_fails_lets_replicas_start_cold(
    driver: Driver, failure: str, state: str, reason: str, jobs: int
) -> None:
    driver.kubelet.failure = failure
    create(driver)
    driver.until(lambda: driver.caches(state), state)
    driver.until(lambda: replicas(driver) == 2, "replicas are let go")
    status = driver.deployment_status()
    assert status["cache"] == "Failed"
    assert next(c for c in status["conditions"] if c["type"] == "CacheReady")["reason"] == reason
    assert len(driver.plain.list(JOB, driver.namespace)) == jobs
    assert staged(driver) == []


def test_an_inert_bundle_is_not_shipped(driver: Driver) -> None:
    driver.kubelet.proved = proof(cold=10, warm=11)
    create(driver)
    [cache] = driver.until(lambda: driver.caches("Ineffective"), "Ineffective")
    driver.until(lambda: replicas(driver) == 2, "replicas are let go")
    assert driver.deployment_status()["cache"] == "Cold"
    assert driver.store.list_manifests(driver.namespace, cache["spec"]["key"]) == []


def test_other_bytes_than_rank_0_promised_are_never_published(driver: Driver) -> None:
    driver.kubelet.staged = b"another archive!!"
    create(driver, tuning={"ranks": 2, "attempts": 1})
    [cache] = driver.until(lambda: driver.caches("Failed"), "Failed")
    assert cache["status"]["lastFailure"]["reason"] == "DigestMismatch"
    assert driver.store.list_manifests(driver.namespace, cache["spec"]["key"]) == []
    assert staged(driver) == []


def test_an_object_of_that_name_that_is_not_ours_is_left_alone(driver: Driver, kubernetes: Kubectl) -> None:
    kubernetes("create", "deployment", "qwen3", "--image=other", "-n", driver.namespace)
    create(driver)
    driver.until(lambda: stalled(driver) == "NameTaken", "it says so")
    live = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    assert live
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "other"


def stalled(driver: Driver) -> str:
    conditions = driver.deployment_status().get("conditions", [])
    return next((str(c["reason"]) for c in conditions if c["type"] == "Stalled" and c["status"] == "True"), "")


def test_a_deleted_namespace_of_objects_leaves_nothing_staged(driver: Driver) -> None:
    create(driver)
    driver.kubelet.running_only = True
    driver.until(lambda: driver.caches("Tuning"), "it tunes")
    [cache] = driver.caches()
    driver.plain.delete(INFERENCE_DEPLOYMENT, driver.namespace, "qwen3")
    driver.plain.delete(STARTUP_CACHE, driver.namespace, cache["metadata"]["name"])
    prefix = staging_prefix("", driver.namespace, cache["spec"]["key"], f"{cache['metadata']['uid']}-1")
    assert prefix
    driver.until(lambda: not driver.caches(), "it is gone")
    driver._caches.reconcile(driver.namespace, cache["metadata"]["name"])
    assert staged(driver) == []


CRASHED = {
    "state": {
        "terminated": {"exitCode": 139, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:01:00Z"}
    }
}


def serve(driver: Driver, manifest: str, engine: dict[str, Any], **changes: Any) -> set[str]:
    """Plays the node of serving pods, whose engines do as ``engine`` says; returns the pods' uids."""
    pods = serving_pods(driver)
    for pod in pods:
        said = serving_pod(pod["metadata"]["name"], manifest, engine, **changes)
        driver.plain.update_status(POD, {**pod, "status": {"phase": "Running", **said["status"]}})
    return {pod["metadata"]["uid"] for pod in pods}


def serving_pods(driver: Driver) -> list[Any]:
    pods = driver.plain.list(POD, driver.namespace, "tunecast.io/inference-deployment=qwen3")
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def replaced(driver: Driver, before: set[str]) -> bool:
    """Whether all of these pods are gone, and as many others are there."""
    found = {pod["metadata"]["uid"] for pod in serving_pods(driver)}
    return len(found) == len(before) and not found & before


def quarantine(driver: Driver) -> Quarantine:
    return quarantine_in(driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust"))


def manifest_of(driver: Driver) -> str:
    """Brings two replicas up, and returns the digest of their bundle."""
    driver.until(lambda: warm(driver) and len(serving_pods(driver)) == 2, "replicas are let go")
    return str(driver.caches()[0]["status"]["manifest"])


def test_a_bundle_that_engines_crash_from_is_quarantined_without_a_rollout(driver: Driver) -> None:
    create(driver)
    manifest = manifest_of(driver)
    deployment = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {}
    before = serve(driver, manifest, CRASHED)
    driver.until(lambda: driver.caches("Quarantined"), "the bundle is quarantined")
    [cache] = driver.caches()
    assert quarantine(driver).digests == (manifest,), "the namespace's trust says so"
    driver.until(lambda: replaced(driver, before), "the crashed ones go")
    after = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {}
    assert after["spec"] == deployment["spec"]
    driver.until(lambda: driver.deployment_status()["cache"] == "Cold", "the InferenceDeployment says so")
    assert "Quarantined" in {event["reason"] for event in driver.plain.list(EVENT, driver.namespace)}
    driver.plain.delete(STARTUP_CACHE, driver.namespace, cache["metadata"]["name"], cache["metadata"]["uid"])
    driver.until(lambda: driver.caches("Quarantined"), "one that is made anew doesn't bring it back")
    change(driver, tuning={"ranks": 2, "generation": 2})
    driver.until(lambda: warm(driver), "a raised generation gets out of it")


def test_replicas_that_were_ready_and_crashed_blame_no_bundle(driver: Driver) -> None:
    create(driver)
    manifest = manifest_of(driver)
    restarted = {"state": {"running": {}}, "lastState": CRASHED["state"], "restartCount": 1}
    before = serve(driver, manifest, restarted, ready_until="2026-01-01T10:09:00Z")
    for _ in range(3):
        driver.step()
    assert (driver.caches("Quarantined"), quarantine(driver)) == ([], Quarantine())
    assert {pod["metadata"]["uid"] for pod in serving_pods(driver)} == before


def test_the_same_crash_of_a_cold_replica_lifts_the_quarantine_for_good(driver: Driver) -> None:
    """Whenever the operator is restarted: what it saw is in the ConfigMap."""
    create(driver)
    manifest = manifest_of(driver)
    before = serve(driver, manifest, CRASHED)
    driver.until(lambda: driver.caches("Quarantined") and replaced(driver, before), "cold replicas come")
    serve(driver, manifest, CRASHED, cold="Quarantined")
    driver.restart(Writes())
    [cache] = driver.until(lambda: driver.caches("Ready"), "the quarantine is lifted")
    [said] = [condition for condition in cache["status"]["conditions"] if condition["type"] == "Ready"]
    assert (said["status"], said["reason"]) == ("True", "QuarantineLifted")
    assert quarantine(driver).digests == ()
    for why in ("NoManifest", "Quarantined", "NoManifest"):
        serve(driver, manifest, {**CRASHED, "restartCount": 9}, cold=why)
        driver.restart(Writes())
        for _ in range(2):
            driver.step()
        assert (driver.caches("Quarantined"), quarantine(driver).digests) == ([], ()), why
    events = [event["reason"] for event in driver.plain.list(EVENT, driver.namespace)]
    assert [events.count(why) for why in ("Quarantined", "QuarantineLifted")] == [2, 2], "once for each kind"


def test_a_bundle_whose_startup_cache_is_gone_is_quarantined_too(driver: Driver) -> None:
    """A policy Never takes a bundle of its key from the store, and no StartupCache of it need be there any more."""
    create(driver)
    manifest = manifest_of(driver)
    change(driver, tuning={"policy": "Never"})
    driver.step()
    for cache in driver.caches():
        driver.plain.delete(STARTUP_CACHE, driver.namespace, cache["metadata"]["name"])
    before = serve(driver, manifest, CRASHED)
    driver.until(lambda: replaced(driver, before), "the crashed ones go")
    assert quarantine(driver).digests == (manifest,)
    assert "Quarantined" in {event["reason"] for event in driver.plain.list(EVENT, driver.namespace)}
    serve(driver, manifest, CRASHED, cold="Quarantined")
    driver.until(lambda: quarantine(driver).lifted(manifest), "the quarantine is lifted")
    assert driver.caches() == []


def trust(driver: Driver) -> Any:
    return driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust")


def test_a_rotated_key_tunes_nothing_again_and_a_lost_one_does(driver: Driver) -> None:
    create(driver)
    driver.until(lambda: warm(driver), "replicas are let go")
    old = signing.Signer(driver.private)
    driver.private, driver.also_trusted = signing.generate(), {old.signer: old.public_key}
    driver.restart(Writes())
    for _ in range(3):
        driver.step()
    [cache] = driver.caches("Ready")
    assert (cache["status"]["attempt"], cache["status"]["signer"]) == (1, old.signer)
    assert {old.signer, signing.Signer(driver.private).signer} == decode(Trust, told(driver), "trust").keys.keys()
    driver.also_trusted = {}
    driver.restart(Writes())
    driver.until(
        lambda: driver.caches("Ready")[0]["status"]["attempt"] == 2 if driver.caches("Ready") else 0, "another"
    )


def told(driver: Driver) -> bytes:
    return str(trust(driver)["data"]["trust.json"]).encode()
