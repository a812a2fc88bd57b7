"""The informer follows a real API server, and catches up on missed changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from harness.kubectl import Kubectl, wait_for
from tunecast_operator.runtime.cluster import CONFIG_MAP, Cluster, connect
from tunecast_operator.runtime.informer import Informer

pytestmark = pytest.mark.integration
NAMESPACE = "informers"


@pytest.fixture(scope="module")
def kubectl(kubernetes: Kubectl) -> Kubectl:
    kubernetes("create", "namespace", NAMESPACE)
    return kubernetes


@pytest.fixture
def cluster(kubectl: Kubectl) -> Cluster:
    return connect(4, kubectl.environment["KUBECONFIG"])


def put(kubectl: Kubectl, name: str, **data: str) -> None:
    found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}
    kubectl("apply", "--filename=-", stdin=json.dumps(found))


def test_it_follows_one_name_through_creation_change_and_deletion(kubectl: Kubectl, cluster: Cluster) -> None:
    seen: list[tuple[str | None, str | None]] = []

    def changed(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        seen.append(tuple((found or {}).get("data", {}).get("a") for found in (old, new)))

    informer = Informer(cluster, CONFIG_MAP, fields="metadata.name=followed", changed=changed)
    informer.start()
    wait_for(lambda: informer.synced or None, "the first list", 20, every=0.1)
    put(kubectl, "other", a="0")
    put(kubectl, "followed", a="1")
    wait_for(lambda: informer.get(NAMESPACE, "followed"), "the ConfigMap to be known", 20, every=0.1)
    put(kubectl, "followed", a="2")
    kubectl("delete", "configmap", "followed", "--namespace", NAMESPACE)
    wait_for(lambda: len(seen) == 3 or None, "the deletion", 20, every=0.1)
    assert seen == [(None, "1"), ("1", "2"), ("2", None)]
    assert informer.list() == []
    informer.stop()


def test_what_was_deleted_while_nobody_watched_goes_with_the_next_list(kubectl: Kubectl, cluster: Cluster) -> None:
    put(kubectl, "ghost", a="1")
    informer = Informer(cluster, CONFIG_MAP, [NAMESPACE], fields="metadata.name=ghost")
    informer.list_and_watch(NAMESPACE, seconds=1)
    assert informer.get(NAMESPACE, "ghost")
    kubectl("delete", "configmap", "ghost", "--namespace", NAMESPACE)
    informer.list_and_watch(NAMESPACE, seconds=1)
    assert informer.get(NAMESPACE, "ghost") is None
