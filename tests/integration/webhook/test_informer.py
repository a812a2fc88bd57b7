"""The informer follows a real API server, and catches up on missed changes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from kubernetes import client

from harness.kubectl import Kubectl, wait_for
from support.background import Server, running
from tunecast_operator.runtime.cluster import CONFIG_MAP, Cluster, ClusterError, Kind, connect
from tunecast_operator.runtime.informer import RETRY_SECONDS, Informer

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


def test_a_kind_that_is_not_served_is_not_synced(cluster: Cluster) -> None:
    """An API server that starts answers 404 for a moment, which must not look like a list without objects."""
    informer = Informer(cluster, Kind("apis/tunecast.io/v1alpha2", "nothings", "Nothing"))
    with pytest.raises(ClusterError, match="doesn't serve nothings"):
        informer.relist("")
    assert not informer.synced


def test_only_the_parts_that_are_asked_for_are_kept(kubectl: Kubectl, cluster: Cluster) -> None:
    put(kubectl, "large", a="1", b="2")
    informer = Informer(
        cluster, CONFIG_MAP, [NAMESPACE], fields="metadata.name=large",
        transform=lambda item: {"metadata": item["metadata"], "a": item["data"]["a"]},
    )  # fmt: skip
    informer.relist(NAMESPACE)
    [kept] = informer.list()
    assert kept.keys() == {"metadata", "a"}


class Handler(BaseHTTPRequestHandler):
    """An API server without objects, whose watches send nothing."""

    protocol_version = "HTTP/1.1"
    lists: list[float]
    ends: bool  # whether a watch ends at once

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if "watch=true" not in self.path:
            self.lists.append(time.monotonic())
            body = b'{"metadata": {"resourceVersion": "1"}, "items": []}'
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.ends:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.flush()
            self.rfile.read(1)  # until the client gives up

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@contextmanager
def api_server(ends: bool) -> Iterator[tuple[Cluster, list[float]]]:
    """Yields a client that gives up after half a second without data, and the times of lists."""
    lists: list[float] = []
    server = Server(("127.0.0.1", 0), type("_Handler", (Handler,), {"lists": lists, "ends": ends}))
    with running(server):
        settings = client.Configuration(host=f"http://127.0.0.1:{server.server_address[1]}")
        settings.retries = False
        yield Cluster(client.ApiClient(settings), 5.0, 0.5), lists


def test_a_watch_without_data_is_given_up() -> None:
    """API servers send a bookmark each minute. Without one, the connection may be dead."""
    with (
        api_server(ends=False) as (cluster, _),
        pytest.raises(ClusterError, match="connection to the API server broke"),
    ):
        Informer(cluster, CONFIG_MAP).list_and_watch("")


def test_an_api_server_that_ends_each_watch_is_not_asked_without_a_pause() -> None:
    with api_server(ends=True) as (cluster, lists):
        informer = Informer(cluster, CONFIG_MAP)
        informer.start()
        wait_for(lambda: len(lists) > 1, "a second list", 20, every=0.05)
        informer.stop()
        assert lists[1] - lists[0] > RETRY_SECONDS * 0.9
