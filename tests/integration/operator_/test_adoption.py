"""Adopted pods are tuned for, and what they missed is seen: the real reconcilers on a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.kubectl import Kubectl, wait_for
from support.driver import Driver
from support.objects import inference_deployment, serving_pod
from tunecast_core.records.codec import canonical
from tunecast_core.records.report import InitReport
from tunecast_operator.conditions import find
from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.resources.quarantine import quarantine_in
from tunecast_operator.runtime.cluster import CONFIG_MAP, EVENT, INFERENCE_DEPLOYMENT, POD, ConflictError, Object
from tunecast_operator.webhook.inject import Surroundings, inject

pytestmark = pytest.mark.integration
CRASHED = {
    "state": {
        "terminated": {"exitCode": 139, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:01:00Z"}
    }
}
AROUND = Surroundings(InitContainer("init:1"), {}, lambda _namespace: {}, lambda _namespace, _key: {})


def pod(driver: Driver, name: str, *, injected: bool = True, **annotations: str) -> Object:
    """Creates an adopted pod as a controller and the webhook would."""
    template = inference_deployment()["spec"]["template"]
    named = {f"tunecast.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": name, "namespace": driver.namespace, "labels": {"tunecast.io/inject": "true"}}
    written = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "annotations": named},
        "spec": template["spec"],
    }
    made = inject(written, driver.namespace, AROUND) if injected else written
    driver.plain.create(POD, made)
    return made


def reports(driver: Driver, kubernetes: Kubectl, name: str, report: InitReport) -> None:
    """Lets the pod's init container end with ``report``, as its kubelet would write it."""
    ended = {"exitCode": 0, "finishedAt": "2026-11-28T12:00:00Z", "message": canonical(report).decode()}
    state = {
        "name": "tunecast-init",
        "state": {"terminated": ended},
        "image": "",
        "imageID": "",
        "ready": True,
        "restartCount": 0,
    }
    patch = {"status": {"phase": "Running", "initContainerStatuses": [state]}}
    where = ("--namespace", driver.namespace, "--subresource=status", "--type=merge")
    kubernetes("patch", "pod", name, *where, "--patch", json.dumps(patch))


def crashes(driver: Driver, name: str, manifest: str) -> None:
    """Lets the pod's engine crash once from the bundle ``manifest``."""
    reported = serving_pod(name, manifest, CRASHED)["status"]

    def written() -> bool:
        live = driver.plain.get(POD, driver.namespace, name) or {}
        try:
            driver.plain.update_status(POD, {**live, "status": {"phase": "Running", **reported}})
        except ConflictError:  # the scheduler reported meanwhile that there is no node
            return False
        return True

    wait_for(written, "the pod's status is written", 20)


def events(driver: Driver, reason: str) -> list[dict[str, Any]]:
    return [found for found in driver.plain.list(EVENT, driver.namespace) if found["reason"] == reason]


def test_the_first_pod_of_a_key_is_tuned_for_and_its_workload_is_named(driver: Driver, kubernetes: Kubectl) -> None:
    pod(driver, "vllm-a")
    reports(driver, kubernetes, "vllm-a", InitReport("Cold", "NoManifest", "nothing is published yet", ""))
    pod(driver, "vllm-b")
    (cache,) = driver.until(lambda: driver.caches("Ready"), "the StartupCache to be ready")
    driver.step()
    (cache,) = driver.caches("Ready")
    assert cache["status"]["usedBy"] == [
        {"kind": "Pod", "name": "vllm-a", "pods": 1, "hits": 0, "cold": 1, "notInjected": 0},
        {"kind": "Pod", "name": "vllm-b", "pods": 1, "hits": 0, "cold": 0, "notInjected": 0},
    ]
    missed = find(cache["status"], "PodsMissed")
    assert missed["reason"] == "StartedBeforeBundle"
    assert "1 of Pod vllm-a" in missed["message"]
    assert driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust")


def test_a_pod_that_was_not_injected_is_counted_and_has_an_event(driver: Driver) -> None:
    pod(driver, "vllm-missed", injected=False)
    (cache,) = driver.until(lambda: driver.caches("Ready"), "the StartupCache to be ready")
    driver.step()
    (cache,) = driver.caches("Ready")
    assert cache["status"]["usedBy"][0]["notInjected"] == 1
    assert find(cache["status"], "PodsMissed")["reason"] == "NotInjected"
    (event,) = events(driver, "NotInjected")
    assert event["involvedObject"]["name"] == "vllm-missed"


def test_a_pod_that_can_not_be_described_has_an_event_with_the_reason(driver: Driver) -> None:
    pod(driver, "vllm-bad", injected=False, ranks="two")
    driver.step()
    (event,) = events(driver, "BadSetting")
    assert "annotation tunecast.io/ranks" in event["message"]
    assert driver.caches() == []


def test_with_tuning_off_nothing_is_tuned_and_the_pod_says_so(driver: Driver) -> None:
    pod(driver, "vllm-never", tuning_policy="Never")
    driver.step()
    assert driver.caches() == []
    assert len(events(driver, "TuningDisabled")) == 1


def test_a_pod_with_the_key_of_another_one_tunes_nothing(driver: Driver, kubernetes: Kubectl) -> None:
    pod(driver, "vllm-forged")
    kubernetes(
        "label", "pod", "vllm-forged", "--namespace", driver.namespace, "--overwrite", f"tunecast.io/key={'a' * 52}"
    )
    driver.step()
    assert driver.caches() == []
    assert len(events(driver, "KeyDiffers")) == 1


def test_a_key_whose_pods_are_gone_stays_for_a_rollout_and_then_rests(driver: Driver, kubernetes: Kubectl) -> None:
    pod(driver, "vllm-once")
    driver.until(lambda: driver.caches("Tuning"), "tuning to begin")
    kubernetes("delete", "pod", "vllm-once", "--namespace", driver.namespace, "--force", "--grace-period=0")
    driver.step()
    driver.step()
    (cache,) = driver.caches()
    assert cache["status"]["unusedSince"]
    assert "unwantedSince" not in cache["status"]
    driver.until(lambda: "unwantedSince" in driver.caches()[0]["status"], "the StartupCache to rest")


def test_pods_that_are_replaced_after_one_crash_quarantine_their_bundle(driver: Driver, kubernetes: Kubectl) -> None:
    """A LeaderWorkerSet deletes a pod as soon as one of its containers restarts, so that no pod crashes twice."""
    pod(driver, "group-0")
    [cache] = driver.until(lambda: driver.caches("Ready"), "the StartupCache to be ready")
    for _ in range(2):
        assert driver.caches("Quarantined") == []
        crashes(driver, "group-0", cache["status"]["manifest"])
        driver.step()
        kubernetes("delete", "pod", "group-0", "--namespace", driver.namespace, "--force", "--grace-period=0")
        driver.step()
        pod(driver, "group-0")
    driver.until(lambda: driver.caches("Quarantined"), "the bundle to be quarantined")
    trust = driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust")
    assert quarantine_in(trust).digests == (cache["status"]["manifest"],)


def test_an_inference_deployment_without_replicas_tunes_ahead(driver: Driver) -> None:
    found = inference_deployment(replicas=0)
    found["metadata"] = {"name": "ahead", "namespace": driver.namespace}
    driver.plain.create(INFERENCE_DEPLOYMENT, found)
    (cache,) = driver.until(lambda: driver.caches("Ready"), "the StartupCache to be ready")
    made = pod(driver, "vllm-later")
    driver.step()
    (cache,) = driver.caches()
    assert made["metadata"]["labels"]["tunecast.io/key"] == cache["spec"]["key"]
    assert [user["name"] for user in cache["status"]["usedBy"]] == ["vllm-later"]


def test_settings_that_change_take_no_protection_from_pods_that_run(driver: Driver, kubernetes: Kubectl) -> None:
    """Pods with the former key keep the trust ConfigMap, and get an Event; the new key is tuned for with new pods."""
    pod(driver, "vllm-before")
    driver.until(lambda: driver.caches("Ready"), "the StartupCache to be ready")
    metadata = {"name": "tunecast-defaults", "namespace": driver.namespace}
    changed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"generation": "2"}}
    driver.plain.create(CONFIG_MAP, changed)
    kubernetes("delete", "configmap", "tunecast-trust", "--namespace", driver.namespace)
    driver.step()
    assert driver.plain.get(CONFIG_MAP, driver.namespace, "tunecast-trust")
    assert len(driver.caches()) == 1
    assert len(events(driver, "KeyDiffers")) == 1
