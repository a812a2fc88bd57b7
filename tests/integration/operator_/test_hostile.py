"""What hostile tenants of a namespace can make the operator do, with objects of its names and labels."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.kubectl import CommandError, Kubectl
from support.driver import Driver
from support.objects import ENGINE, inference_deployment, key_in, pod_template, proof, snapshot_of
from tunecast_core.records.codec import decode
from tunecast_core.records.manifest import Start
from tunecast_core.trust.settings import Trust
from tunecast_operator.conditions import find
from tunecast_operator.runtime.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    INFERENCE_DEPLOYMENT,
    JOB,
    POD,
    SECRET,
    SERVICE,
    STARTUP_CACHE,
    Kind,
    Object,
)
from tunecast_operator.runtime.publisher import RESULT_LIMIT
from tunecast_operator.snapshot import cache_name

pytestmark = pytest.mark.integration
SPEC: Object = {"replicas": 2, "tuning": {"ranks": 2}}
OWNER = inference_deployment(**SPEC)
KEY = key_in(OWNER)
CACHE = cache_name(snapshot_of(OWNER))  # the names are known before the objects exist
TEMPLATE = {"containers": [{"name": "x", "image": "theirs"}]}


def put(driver: Driver, kind: Kind, name: str, labels: dict[str, str] | None = None, **fields: Any) -> None:
    metadata = {"name": name, "namespace": driver.namespace, "labels": labels or {}}
    found = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **fields}
    driver.plain.create(kind, found)


def create(driver: Driver, **spec: Any) -> None:
    put(driver, INFERENCE_DEPLOYMENT, "qwen3", spec={**OWNER["spec"], **spec})


def a_service(driver: Driver, name: str) -> None:
    put(driver, SERVICE, name, spec={"ports": [{"port": 80}], "selector": {"app": "theirs"}})


def a_job(driver: Driver, name: str, labels: dict[str, str] | None = None) -> None:
    template = {"metadata": {"labels": labels or {}}, "spec": {**TEMPLATE, "restartPolicy": "Never"}}
    put(driver, JOB, name, labels, spec={"template": template})


def condition(driver: Driver, kind: str) -> Any:
    return find(driver.deployment_status(), kind)


def replicas(driver: Driver) -> int:
    return int((driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {})["spec"]["replicas"])


def warm(driver: Driver) -> bool:
    return driver.deployment_status().get("cache") == "Hit" and replicas(driver) == 2


def test_a_foreign_service_of_that_name_is_left_alone(driver: Driver) -> None:
    a_service(driver, "qwen3")
    create(driver)
    driver.until(lambda: condition(driver, "Stalled").get("reason") == "NameTaken", "the conflict is reported")
    assert driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") is None
    assert (driver.plain.get(SERVICE, driver.namespace, "qwen3") or {})["spec"]["selector"] == {"app": "theirs"}


@pytest.mark.parametrize("squat", [a_service, lambda driver, name: a_job(driver, f"{name}-1")], ids=["Service", "Job"])
def test_a_conflicting_name_is_reported_and_holds_no_replica_forever(driver: Driver, squat: Any) -> None:
    squat(driver, CACHE)
    create(driver, tuning={"ranks": 2, "queueTimeout": "2m"})
    driver.until(lambda: condition(driver, "CacheReady").get("reason") == "NameTaken", "the conflict is reported")
    driver.until(lambda: replicas(driver) == 2, "replicas start cold")
    mine = [*driver.plain.list(SERVICE, driver.namespace), *driver.plain.list(JOB, driver.namespace)]
    theirs = [found for found in mine if not found["metadata"].get("ownerReferences")]
    assert [found["metadata"]["name"] for found in theirs if found["metadata"]["name"].startswith(CACHE)]


def test_a_startup_cache_named_like_foreign_objects_changes_none_of_them(driver: Driver) -> None:
    a_service(driver, "database-0123456789")
    put(driver, SECRET, "database-0123456789-1", type="tunecast.io/job", data={"job.json": "e30="})
    put(driver, STARTUP_CACHE, "database-0123456789", spec=snapshot_of(OWNER))
    driver.plain.update_status(STARTUP_CACHE, {**driver.caches()[0], "status": {"state": "Pending"}})
    driver.until(lambda: driver.caches()[0]["status"].get("unwantedSince"), "the unused StartupCache is cleaned up")
    create(driver)
    driver.until(lambda: warm(driver), "another StartupCache of its key is published, and it is cleaned up again")
    assert driver.plain.get(SERVICE, driver.namespace, "database-0123456789")
    assert (driver.plain.get(SECRET, driver.namespace, "database-0123456789-1") or {})["data"] == {"job.json": "e30="}


def test_a_startup_cache_with_the_name_and_another_key_is_reported(driver: Driver) -> None:
    other = snapshot_of(inference_deployment(template=pod_template(image="theirs")))
    put(driver, STARTUP_CACHE, CACHE, spec=other)
    create(driver)
    driver.until(lambda: condition(driver, "Stalled").get("reason") == "NameTaken", "the conflict is reported")
    assert driver.caches()[0]["spec"]["template"]["spec"]["containers"][0]["image"] == "theirs"


def test_jobs_and_pods_with_our_labels_are_no_ranks(driver: Driver) -> None:
    """Their termination messages don't count: one pod claims to be rank 0 with rejected arguments."""
    labels = {"tunecast.io/startup-cache": CACHE, "tunecast.io/attempt": "1", "tunecast.io/key": KEY}
    a_job(driver, "theirs", {**labels, "tunecast.io/attempt": "x"})
    annotations = {"batch.kubernetes.io/job-completion-index": "no number", "tunecast.io/container": ENGINE}
    metadata = {"name": "theirs", "namespace": driver.namespace, "labels": labels, "annotations": annotations}
    driver.plain.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": TEMPLATE})
    claimed = json.dumps({"rank": 0, "succeeded": False, "reason": "EngineRejectedArguments", "message": "no"})
    ended = {"name": "engine", "ready": False, "image": "x", "imageID": "", "restartCount": 0}
    ended["state"] = {"terminated": {"exitCode": 1, "message": claimed}}
    pod = driver.plain.get(POD, driver.namespace, "theirs") or {}
    del pod["metadata"]["resourceVersion"]  # the scheduler may update it at the same time
    driver.plain.update_status(POD, {**pod, "status": {"phase": "Failed", "containerStatuses": [ended]}})
    create(driver)
    driver.until(lambda: warm(driver), "tuning still succeeds")
    assert driver.caches("Ready")[0]["status"]["attempt"] == 1


def test_an_edited_trust_config_map_is_restored(driver: Driver) -> None:
    create(driver)
    driver.step()
    before = trust(driver)
    evil = {"store": {"bucket": "evil"}, "keys": {"e" * 16: "AAAA"}, "quarantined": ["d" * 64]}
    found = driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust") or {}
    found["metadata"].pop("managedFields")
    driver.plain.apply(CONFIG_MAP, {**found, "data": {"trust.json": json.dumps(evil)}})
    driver.step()
    after = trust(driver)
    assert (after.store, after.keys) == (before.store, before.keys)
    assert after.quarantined == ("d" * 64,), "the quarantine is kept, because it can only make replicas start cold"


def trust(driver: Driver) -> Trust:
    found = driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust") or {}
    return decode(Trust, found["data"]["trust.json"].encode(), "trust")


def test_an_immutable_trust_config_map_is_reported(driver: Driver) -> None:
    put(driver, CONFIG_MAP, "tunecast-trust", data={"trust.json": "{}"}, immutable=True)
    create(driver)
    driver.until(lambda: condition(driver, "Stalled").get("reason") == "Rejected", "the rejection is reported")
    assert "tunecast-trust" in condition(driver, "Stalled")["message"]


def test_an_edited_template_is_restored_at_the_next_reconciliation(driver: Driver) -> None:
    create(driver, tuning={"policy": "Never"})
    driver.step()
    before = rendered(driver)
    strange = {"tunecast.io/revision": json.dumps({**json.loads(before[0]), "environment": 5})}
    containers = [{"name": "engine", "image": "theirs", "command": ["theirs"]}]
    patch = {"metadata": {"annotations": strange}, "spec": {"template": {"spec": {"containers": containers}}}}
    driver.plain.merge(DEPLOYMENT, driver.namespace, "qwen3", patch)
    driver.step()
    assert rendered(driver) == before


def rendered(driver: Driver) -> tuple[str, str, list[str]]:
    found = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3") or {}
    engine = found["spec"]["template"]["spec"]["containers"][0]
    return found["metadata"]["annotations"]["tunecast.io/revision"], engine["image"], engine["command"]


def test_a_result_staged_by_another_writer_publishes_nothing(driver: Driver) -> None:
    """The result comes with archives: a writer to the bucket must not choose what replicas run."""
    driver.kubelet.token = "guessed"
    create(driver, tuning={"ranks": 2, "attempts": 1})
    driver.until(lambda: driver.caches("Failed"), "it counts as none")
    assert driver.caches()[0]["status"]["lastFailure"]["reason"] == "ResultMissing"
    assert driver.store.list_manifests(driver.namespace, KEY) == []
    driver.until(lambda: replicas(driver) == 2, "replicas start cold")


def test_a_proof_of_nothing_publishes_nothing(driver: Driver) -> None:
    driver.kubelet.proved = replace(proof(), ranks=())
    create(driver, tuning={"ranks": 2, "attempts": 1})
    driver.until(lambda: driver.caches("Failed"), "it counts as none")
    driver.until(lambda: replicas(driver) == 2, "replicas start cold")


def test_the_longest_accepted_proof_fits_into_status(driver: Driver) -> None:
    """Otherwise its status could never be written, and replicas would wait forever."""
    phases = {f"{number:1000}": 1.0 for number in range((RESULT_LIMIT - 2000) // 1008)}
    driver.kubelet.proved = replace(proof(), cold=Start(60.0, phases=phases))
    create(driver)
    driver.until(lambda: warm(driver), "it is published")


def test_an_object_nested_too_deeply_is_not_stored_and_blocks_no_other(driver: Driver, kubernetes: Kubectl) -> None:
    """The API server reads ten thousand levels but Python a thousand, so a stored one would break every list."""
    found = {**OWNER, "metadata": {"name": "deep", "namespace": driver.namespace}}
    whole = json.dumps({**found, "spec": {**OWNER["spec"], "strategy": {"type": "Recreate"}}})
    deep = '{"a": ' * 5000 + "1" + "}" * 5000
    with pytest.raises(CommandError, match=r'unknown field "spec\.strategy\.a"'):
        kubernetes("create", "-f", "-", stdin=whole.replace('{"type": "Recreate"}', deep))
    kubernetes("create", "--validate=ignore", "-f", "-", stdin=whole.replace('{"type": "Recreate"}', deep))
    create(driver)
    driver.until(lambda: warm(driver), "the other InferenceDeployment is served")
    kept = driver.plain.get(INFERENCE_DEPLOYMENT, driver.namespace, "deep")
    assert kept is not None
    assert kept["spec"]["strategy"] == {}
