"""Objects that an earlier owner of the same name left behind. The API server is a table of answers here."""

from contextlib import nullcontext
from typing import Any, cast

import pytest
from kubernetes.client import ApiClient, Configuration

from support.listed import unlimited
from support.objects import NOW, inference_deployment, snapshot_of
from tunecast_core.trust.settings import StoreSettings
from tunecast_operator.conditions import find
from tunecast_operator.plan.attempts import RETRY_SECONDS
from tunecast_operator.reconcile.ownership import NameTakenError, check_owner
from tunecast_operator.reconcile.startup_cache import StartupCacheReconciler, SweepError, parse_sweep
from tunecast_operator.runtime.cluster import (
    DEPLOYMENT,
    INFERENCE_DEPLOYMENT,
    JOB,
    SERVICE,
    STARTUP_CACHE,
    Cluster,
    ClusterError,
    ConflictError,
    Kind,
    Object,
)
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.metrics import Metrics
from tunecast_operator.runtime.publisher import Publisher

OLD = [{"kind": "StartupCache", "name": "kc", "uid": "old"}]
INSTALLATION = Installation(StoreSettings("bucket"), "tunecast-system", "init:1")


class Answers(Cluster):
    def __init__(self, items: list[Object] | None = None) -> None:
        super().__init__(ApiClient(Configuration()))
        self._items, self.writes = items or [], list[str]()

    def _call(self, method: str, kind: Kind, namespace: str, name: str = "", **_: Any) -> Object | None:
        if method == "GET":
            return {"items": self._items if kind == JOB else []}
        self.writes.append(f"{method} {kind.name} {namespace}/{name}")
        return {}


def test_jobs_of_an_earlier_cache_of_the_same_name_are_waited_for() -> None:
    """Otherwise the end of an old attempt would count as one of the new cache, which was recreated to retry."""
    metadata = {"name": "kc", "namespace": "models", "uid": "new"}
    cache = {"kind": "StartupCache", "metadata": metadata, "spec": snapshot_of(inference_deployment())}
    old = {"metadata": {"name": "kc-3", "labels": {"tunecast.io/attempt": "3"}, "ownerReferences": OLD}}
    cluster = Answers([old])
    reconciler = StartupCacheReconciler(
        cluster, cast("Publisher", None), INSTALLATION, lambda: NOW, Metrics(NOW), unlimited(cluster)
    )
    with pytest.raises(ConflictError, match="kc-3"):
        reconciler._observe(cache)


class FullRange(Answers):
    """An API server with a wanted StartupCache, which fails each creation of a Service."""

    def __init__(self, cache: Object) -> None:
        super().__init__()
        self.cache, self.statuses = cache, list[Object]()

    def _call(self, method: str, kind: Kind, namespace: str, name: str = "", **more: Any) -> Object | None:
        if (method, kind) == ("POST", SERVICE):
            raise ClusterError("POST Service models/kc: 500 range is full")
        if more.get("subresource") == "status":
            self.statuses.append(more["body"]["status"])
        if (method, kind, name) == ("GET", STARTUP_CACHE, "kc"):
            return self.cache
        if (method, kind) == ("GET", INFERENCE_DEPLOYMENT):
            return {
                "items": [{**inference_deployment(), "status": {"startupCaches": [{"name": "kc", "state": "Ready"}]}}]
            }
        return super()._call(method, kind, namespace, name, **more)


class EmptyStore:
    """A publisher whose store works and has no bundle."""

    def find(self, *_: Any) -> None:
        return None

    def check(self) -> None:
        return None


def test_a_write_that_the_api_server_fails_is_shown_from_the_second_time_on() -> None:
    metadata = {"name": "kc", "namespace": "models", "uid": "new", "generation": 1, "resourceVersion": "1"}
    named = {"apiVersion": "tunecast.io/v1alpha2", "kind": "StartupCache", "metadata": metadata}
    cluster = FullRange({**named, "spec": snapshot_of(inference_deployment())})
    publisher = cast("Publisher", EmptyStore())
    reconciler = StartupCacheReconciler(cluster, publisher, INSTALLATION, lambda: NOW, Metrics(NOW), unlimited(cluster))
    with pytest.raises(ClusterError):
        reconciler.reconcile("models", "kc")
    assert cluster.statuses == []
    assert reconciler.reconcile("models", "kc") == RETRY_SECONDS
    shown = find(cluster.statuses[0], "Ready")
    assert (shown["reason"], shown["message"]) == ("KubernetesFailed", "POST Service models/kc: 500 range is full")


@pytest.mark.parametrize(
    ("owners", "error"),
    [
        ([{"kind": "InferenceDeployment", "uid": "old"}], ConflictError),
        ([{"kind": "Rollout", "uid": "other"}], NameTakenError),
        ([], NameTakenError),
        ([{"kind": "InferenceDeployment", "uid": "new"}], None),
    ],
)
def test_what_another_owns_is_left_alone(owners: list[Object], error: type[Exception] | None) -> None:
    """Objects of an earlier owner are garbage-collected; foreign objects stay until their user deletes them."""
    ours = {"kind": "InferenceDeployment", "uid": "new"}
    desired = {"metadata": {"name": "qwen3", "namespace": "models", "ownerReferences": [ours]}}
    live = {"metadata": {"name": "qwen3", "ownerReferences": owners}}
    with nullcontext() if error is None else pytest.raises(error):
        check_owner(DEPLOYMENT, desired, live)


@pytest.mark.parametrize("line", ["{", "[]", "[" * 200_000, '{"prompt": "\\ud800"}', '{"a":' * 900 + "1" + "}" * 900])
def test_a_line_of_a_sweep_that_is_no_request_is_named(line: str) -> None:
    with pytest.raises(SweepError, match="sweep, line 3") as raised:
        parse_sweep(f'{{"max_tokens": 1}}\n\n{line}', "sweep")
    assert raised.value.reason == "BadSweep"
