"""What the operator knows of adopted pods, whatever order its two watches report in."""

from __future__ import annotations

from typing import Any

import pytest

from support.adopted import NAMESPACE, adopted_pod
from tunecast_operator.plan.adoption import ObservedAdoption, _is_replaced, decide
from tunecast_operator.reconcile.adoption import AdoptionReconciler
from tunecast_operator.runtime.adopted_pods import AdoptedPods
from tunecast_operator.runtime.cluster import CONFIG_MAP, ConflictError, Kind


class Listed:
    """An API server that lists what it is given."""

    def __init__(self, pods: list[dict[str, Any]], defaults: list[dict[str, Any]]) -> None:
        self.pods, self.defaults = pods, defaults

    def list_with_version(self, kind: Kind, *_: Any) -> tuple[list[dict[str, Any]], str]:
        return (self.defaults if kind == CONFIG_MAP else self.pods), "7"


def settings(**data: str) -> dict[str, Any]:
    metadata = {"name": "tunecast-defaults", "namespace": NAMESPACE, "resourceVersion": data.get("generation", "1")}
    return {"metadata": metadata, "data": data}


def known(cluster: Listed, **more: Any) -> tuple[AdoptedPods, list[str]]:
    queue: list[str] = []
    return AdoptedPods(cluster, [], {}, lambda _namespace, key: queue.append(key), **more), queue  # type: ignore[arg-type]


def test_settings_that_are_listed_after_the_pods_describe_them_again() -> None:
    cluster = Listed([adopted_pod()], [])
    pods, _ = known(cluster)
    pods.refresh()
    [(_, before)] = pods.places()
    cluster.defaults = [settings(generation="2")]
    pods.refresh()
    [(_, after)] = pods.places()
    assert after != before


def test_injected_pods_are_looked_at_again_after_their_settings_changed() -> None:
    pod = adopted_pod(annotations={"tunecast.io/injected": "true"})
    pod["metadata"]["labels"]["tunecast.io/key"] = "a" * 52
    cluster = Listed([pod], [])
    pods, queue = known(cluster)
    pods.refresh()
    queue.clear()
    cluster.defaults = [settings(generation="2")]
    pods.refresh()
    assert queue == ["a" * 52]


def test_a_pod_that_is_gone_when_its_settings_change_does_not_come_back() -> None:
    cluster = Listed([adopted_pod()], [])
    pods, _ = known(cluster)
    pods.refresh()
    snapshot = pods._informer.list()
    cluster.pods = []
    pods.refresh()
    pods._informer.list = lambda: snapshot  # type: ignore[method-assign]
    cluster.defaults = [settings(generation="2")]
    pods._defaults.relist("")
    assert pods.places() == []


def test_namespaces_that_the_webhook_never_sees_have_no_adopted_pods() -> None:
    pods, _ = known(Listed([adopted_pod()], []), excluded=[NAMESPACE])
    pods.refresh()
    assert pods.places() == []


def test_nothing_is_decided_before_all_has_been_listed() -> None:
    pods, _ = known(Listed([], []))
    reconciler = AdoptionReconciler.__new__(AdoptionReconciler)
    reconciler._pods = pods
    with pytest.raises(ConflictError):
        reconciler.reconcile(NAMESPACE, "a" * 52)
    with pytest.raises(ConflictError):
        reconciler.using_key(NAMESPACE, "a" * 52)


def test_pods_whose_key_nobody_asks_for_any_more_are_tuned_for_no_longer() -> None:
    plan = decide(ObservedAdoption(None, [adopted_pod()], []), 1)
    assert plan.create_caches == ()


@pytest.mark.parametrize(
    ("kind", "controller", "replaced"), [("ReplicaSet", True, True), ("Job", True, False), ("X", False, False)]
)
def test_only_pods_that_a_controller_creates_again_are_replaced(kind: str, controller: bool, replaced: bool) -> None:
    pod = adopted_pod()
    pod["metadata"]["ownerReferences"] = [{"kind": kind, "name": "owner", "uid": "u", "controller": controller}]
    assert _is_replaced(pod) is replaced
