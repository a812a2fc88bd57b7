"""The operator with exactly the chart's permissions: it needs all of them, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient

from harness.deploy import ROOT, namespace
from harness.kubectl import Kubectl, Object
from support.driver import CountedCluster, CountedStore, Driver
from support.kubelet import bind
from support.objects import inference_deployment, pod_template, serving_pod
from support.s3 import S3
from tunecast_core.trust.settings import StoreSettings
from tunecast_operator.plan.ends import FORGET_AFTER
from tunecast_operator.plan.workloads import Workload
from tunecast_operator.reconcile.owners import Owners
from tunecast_operator.reconcile.webhook import LOOK_SECONDS, WebhookReconciler
from tunecast_operator.resources.certificate import LIFE
from tunecast_operator.runtime.cluster import CONFIG_MAP, DEPLOYMENT, INFERENCE_DEPLOYMENT, POD, STARTUP_CACHE, Kind
from tunecast_operator.runtime.signing_key import load_keys

pytestmark = pytest.mark.integration
Right = tuple[str, str]  # verb, resource
VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
OPERATOR = "system:serviceaccount:tunecast-system:rights"
# kopf lists and watches; the API server requires finalizers where it checks blockOwnerDeletion.
KOPF = {
    (verb, resource)
    for verb in ("list", "watch")
    for resource in ("inferencedeployments", "startupcaches", "deployments", "jobs", "pods", "configmaps")
}
FINALIZERS = {("update", f"{plural}/finalizers") for plural in ("inferencedeployments", "startupcaches")}
SWEEP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sweep"}, "data": {"requests.jsonl": ""}}


class OperatorsCluster(CountedCluster):
    """The real cluster, accessed as the operator's service account, which records the permissions used."""

    used: set[Right]

    def _call(self, method: str, kind: Kind, namespace: str, name: str = "", **more: Any) -> Object | None:
        verb = VERBS.get(method) or ("get" if name else "list")
        subresource = more.get("subresource")
        resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
        self.used |= {(verb, resource)}
        metadata = (more.get("body") or {}).get("metadata") or {}
        if more.get("content") == "application/apply-patch+yaml" and "uid" not in metadata:  # creates a missing object
            self.used |= {("create", resource)}
        return super()._call(method, kind, namespace, name, **more)


class Limited(Driver):
    cluster: OperatorsCluster

    def edges(self, api: ApiClient, settings: StoreSettings) -> tuple[OperatorsCluster, CountedStore]:
        api.set_default_header("Impersonate-User", OPERATOR)
        cluster = OperatorsCluster(api)
        cluster.used = set()
        return cluster, CountedStore(settings, seconds=5)


@pytest.fixture
def granted(kubernetes: Kubectl) -> Iterator[set[Right]]:
    """Returns the permissions of the chart's roles, which are bound to the operator's service account."""
    arguments = ["template", "rights", str(ROOT / "charts" / "tunecast"), "--namespace", "tunecast-system"]
    text = kubernetes.command("helm", *arguments, "--kube-version", "1.35.0", "--set", "s3.bucket=bundles")
    found = [one for one in yaml.safe_load_all(text) if one]
    bindings = [one for one in found if one.get("subjects", [{}])[0].get("name") == OPERATOR.rpartition(":")[2]]
    names = [one["roleRef"]["name"] for one in bindings]
    roles = [one for one in found if one["kind"] in {"Role", "ClusterRole"} and one["metadata"]["name"] in names]
    configuration = [one for one in found if one["kind"] == "MutatingWebhookConfiguration"]
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": roles + bindings + configuration})
    kubernetes.apply(namespace("tunecast-system"))
    kubernetes("apply", "-f", "-", stdin=everything)
    rules = [rule for role in roles for rule in role["rules"]]
    yield {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    kubernetes("delete", "-f", "-", stdin=everything)


def test_every_right_is_used_and_no_other_is_needed(
    kubernetes: Kubectl, s3_credentials: S3, granted: set[Right]
) -> None:
    kubernetes("create", "namespace", "rights")
    driver = Limited(kubernetes.environment["KUBECONFIG"], s3_credentials.settings(), "rights")
    tune_from_a_sweep(driver)
    scale_the_old_revision_while_another_is_tuned(driver)
    quarantine(driver)
    name_workloads(driver)
    change_the_strategy(driver)
    forget(driver)
    refuse_ranks(kubernetes, driver)
    renew_the_webhooks_certificate(driver)
    load_keys(driver.cluster, "tunecast-system", driver.installation.signing_secret)
    used = driver.cluster.used
    assert used - granted == set(), "the API server refused nothing"
    assert granted - used == (KOPF - used) | FINALIZERS


def apply(driver: Driver, **spec: Any) -> None:
    owner = inference_deployment(**{"replicas": 2, "tuning": {"ranks": 2}, **spec})
    owner["metadata"] = {"name": "qwen3", "namespace": driver.namespace}
    driver.plain.apply(INFERENCE_DEPLOYMENT, owner)


def warm(driver: Driver) -> bool:
    return driver.deployment_status().get("cache") == "Hit" and len(serving(driver)) == 2


def serving(driver: Driver) -> list[Object]:
    pods = driver.plain.list(POD, driver.namespace, "tunecast.io/inference-deployment=qwen3")
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def tune_from_a_sweep(driver: Driver) -> None:
    driver.plain.create(CONFIG_MAP, {**SWEEP, "metadata": {"name": "sweep", "namespace": driver.namespace}})
    apply(driver, tuning={"ranks": 2, "sweep": {"name": "sweep", "key": "requests.jsonl"}})
    driver.until(lambda: warm(driver), "it is tuned and serves")


def scale_the_old_revision_while_another_is_tuned(driver: Driver) -> None:
    driver.kubelet.serves = driver.kubelet.running_only = True
    driver.until(lambda: driver.deployment_status().get("readyReplicas") == 2, "the old revision serves")
    changed = {"template": pod_template("--max-model-len=8192")}
    apply(driver, **changed)
    driver.until(lambda: driver.caches("Tuning"), "another key is tuned")
    apply(driver, **changed, replicas=1)
    driver.until(lambda: len(serving(driver)) == 1, "the old revision scales")
    apply(driver, replicas=2)
    driver.kubelet.serves = driver.kubelet.running_only = False
    driver.until(lambda: warm(driver), "the change is taken back; its Job is deleted")


def quarantine(driver: Limited) -> None:
    cache = next(c for c in driver.caches("Ready") if c["status"].get("referredBy"))
    crashed = {
        "state": {
            "terminated": {"exitCode": 139, "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:01:00Z"}
        }
    }
    for pod in serving(driver):
        bind(driver.plain, pod)
    driver.until(lambda: ("get", "nodes") in driver.cluster.used, "what their node is")
    for pod in serving(driver):
        reported = serving_pod(pod["metadata"]["name"], cache["status"]["manifest"], crashed)
        driver.plain.update_status(POD, {**pod, "status": {"phase": "Running", **reported["status"]}})
    driver.until(lambda: driver.caches("Quarantined"), "the bundle is quarantined")
    driver.until(lambda: ("delete", "pods") in driver.cluster.used, "what crashes is replaced")


def name_workloads(driver: Driver) -> None:
    owners = Owners(driver.cluster)
    assert {owners.top(pod) for pod in serving(driver)} == {Workload("InferenceDeployment", "qwen3")}
    reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": True}
    pod = {"metadata": {"name": "web-0", "namespace": driver.namespace, "ownerReferences": [reference]}}
    assert owners.top(pod) == Workload("StatefulSet", "web")


def change_the_strategy(driver: Driver) -> None:
    apply(driver, strategy={"type": "Recreate"})
    driver.until(lambda: strategy(driver) == "Recreate", "the new strategy")


def strategy(driver: Driver) -> str:
    live = driver.plain.get(DEPLOYMENT, driver.namespace, "qwen3")
    return str((live or {})["spec"]["strategy"]["type"])


def forget(driver: Driver) -> None:
    driver.plain.delete(INFERENCE_DEPLOYMENT, driver.namespace, "qwen3")
    driver.step()
    driver.now += FORGET_AFTER
    driver.until(
        lambda: not driver.plain.list(STARTUP_CACHE, driver.namespace), "caches are deleted after an unused day"
    )


def refuse_ranks(kubernetes: Kubectl, driver: Limited) -> None:
    kubernetes("create", "quota", "none", "--hard=pods=0", "--namespace", driver.namespace)
    apply(driver, tuning={"ranks": 2, "generation": 2})
    driver.until(lambda: ("list", "events") in driver.cluster.used, "why a Job has no pods")


def renew_the_webhooks_certificate(driver: Driver) -> None:
    name = "rights-webhook"
    installation = replace(driver.installation, webhook_secret=name, webhook_configuration=name, webhook_service=name)
    reconciler = WebhookReconciler(driver.cluster, installation, lambda: driver.now, driver.metrics)
    for _ in range(2):
        while reconciler.reconcile("", name) != LOOK_SECONDS:
            pass
        driver.now += LIFE
