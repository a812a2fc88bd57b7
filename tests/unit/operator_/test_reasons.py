"""Every reason of docs/troubleshooting.md is an Event for users and a label for alerts."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, cast

import pytest
from kubernetes.client import ApiClient, Configuration
from prometheus_client import generate_latest

from support.docs import tables
from support.listed import unlimited
from support.objects import NOW, inference_deployment, snapshot_of
from tunecast_core import errors
from tunecast_core.records.report import InitReport
from tunecast_core.trust.settings import StoreSettings
from tunecast_operator import times
from tunecast_operator.api.status import CommonStatus, FailureStatus, StartupCacheStatus
from tunecast_operator.conditions import Condition, ConditionType, Reason, find
from tunecast_operator.reconcile import inference_deployment as of_deployments
from tunecast_operator.reconcile import startup_cache as of_caches
from tunecast_operator.reconcile.status import StatusWriter
from tunecast_operator.runtime.cluster import EVENT, INFERENCE_DEPLOYMENT, STARTUP_CACHE, Cluster, Kind, Object
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.metrics import OTHER, Metrics
from tunecast_operator.runtime.publisher import Publisher

PAGE = tables("troubleshooting.md")
QUIET = {Reason.ROLLING_OUT, Reason.IDLE}  # Ready reports these, and they need no action
NEVER_SHOWN = {"Conflict"}
OWNER = inference_deployment()
CACHE_SPEC = snapshot_of(OWNER)
STORE_ERRORS = [errors.StoreError, *errors.StoreError.__subclasses__()]


class Recorded(Cluster):
    """An API server with a wanted StartupCache, which records all writes."""

    def __init__(self, cache: Object | None = None) -> None:
        super().__init__(ApiClient(Configuration()))
        self._cache = cache
        self.events: list[str] = []
        self.status: Object = {}

    def _call(self, method: str, kind: Kind, *_: str, **more: Any) -> Object | None:
        if method == "GET" and kind == STARTUP_CACHE:
            return self._cache
        if method == "GET":
            wanting = {**OWNER, "status": {"startupCaches": [{"name": "kc", "state": "Ready"}]}}
            return {"items": [wanting] if kind == INFERENCE_DEPLOYMENT else []}
        if kind == EVENT:
            self.events.append(more["body"]["reason"])
        if more.get("subresource") == "status":
            self.status = more["body"]["status"]
        return {}


def reason(row: list[str]) -> str:
    return row[0].strip("`")


def conditions() -> list[tuple[Kind, str, str, str]]:
    """Returns kind, type, status and reason of every condition on the page."""
    found = []
    for row in PAGE["InferenceDeployment"]:
        pairs = re.findall(r"(\w+)=(\w+)", row[1])
        assert pairs, f"{row[0]} is of no condition"
        found += [(INFERENCE_DEPLOYMENT, kind, status, reason(row)) for kind, status in pairs]
    names = [reason(row) for row in PAGE["StartupCache"]]
    found += [
        (STARTUP_CACHE, ConditionType.READY, str(name in {Reason.PUBLISHED, Reason.QUARANTINE_LIFTED}), name)
        for name in names
    ]
    return [entry for entry in found if entry[3] not in NEVER_SHOWN]


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    """Returns the sum of a metric's samples with these labels."""
    samples = [line for line in generate_latest(metrics.registry).decode().splitlines() if line.startswith(f"{name}{{")]
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(float(line.rpartition(" ")[2]) for line in samples if all(part in line for part in wanted))


@pytest.mark.parametrize(("kind", "type_", "status", "why"), conditions())
def test_a_condition_is_an_event_and_is_counted(kind: Kind, type_: str, status: Any, why: str) -> None:
    has_event = {INFERENCE_DEPLOYMENT: of_deployments.has_event, STARTUP_CACHE: of_caches.has_event}[kind]
    cluster, metrics = Recorded(), Metrics(NOW)
    writer = StatusWriter(cluster, kind, has_event, metrics, lambda: NOW)
    writer.write(OWNER, CommonStatus(), [Condition(type_, status, why, "words")])
    assert cluster.events == ([] if why in QUIET else [why])
    labels = {"kind": kind.name, "type": type_, "status": status, "reason": why}
    assert counted(metrics, "tunecast_transitions_total", **labels) == 1
    assert counted(metrics, "tunecast_condition", **labels) == 1


@pytest.mark.parametrize("why", ["Published", "Ineffective", *map(reason, PAGE["Attempts"])])
def test_the_end_of_an_attempt_is_counted_by_its_reason(why: str) -> None:
    metrics = Metrics(NOW)
    state = {"Published": "Ready", "Ineffective": "Ineffective"}.get(why)
    failure = None if state else FailureStatus(reason=why, message="", attempt=1)
    ended = StartupCacheStatus.model_validate({"state": state, "lastFailure": failure})
    metrics.observe(("StartupCache", "models", "kc"), StartupCacheStatus(), ended)
    assert counted(metrics, "tunecast_tuning_attempts_total", result=why) == 1
    assert counted(metrics, "tunecast_tuning_attempts_total", result=OTHER) == 0


@pytest.mark.parametrize("why", [reason(row) for row in PAGE["Init containers"]])
def test_a_report_of_an_init_container_is_counted_by_its_reason(why: str) -> None:
    metrics = Metrics(NOW)
    report = InitReport("Hit" if why == "Installed" else "Cold", why, "words", "key")
    metrics.count_inits("models", "qwen3", {"run": (times.text(NOW + timedelta(seconds=1)), report)})
    assert counted(metrics, "tunecast_init_containers_total", reason=why) == 1
    assert counted(metrics, "tunecast_init_containers_total", reason=OTHER) == 0


class Broken:
    """A publisher whose store fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find(self, *_: Any) -> None:
        raise self.error


@pytest.mark.parametrize("error", STORE_ERRORS, ids=lambda error: error.reason)
def test_an_error_of_the_store_is_a_condition_an_event_and_counted(error: type[errors.StoreError]) -> None:
    metadata = {"name": "kc", "namespace": "models", "uid": "kc-uid", "generation": 1, "resourceVersion": "1"}
    cache = {"apiVersion": "tunecast.io/v1alpha2", "kind": "StartupCache", "metadata": metadata, "spec": CACHE_SPEC}
    cluster, metrics = Recorded(cache), Metrics(NOW)
    installation = Installation(StoreSettings("bucket"), "tunecast-system", "init:1")
    publisher = cast("Publisher", Broken(error("words")))
    reconciler = of_caches.StartupCacheReconciler(
        cluster, publisher, installation, lambda: NOW, metrics, unlimited(cluster)
    )
    reconciler.reconcile("models", "kc")
    assert (find(cluster.status, ConditionType.READY)["reason"], cluster.events) == (error.reason, [error.reason])
    assert counted(metrics, "tunecast_store_errors_total", reason=error.reason) == 1
