"""An S3 server with TLS by a private authority, which only a proxy can reach and resolve."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from e2e import private_store
from e2e.elsewhere import UIDS, until_served
from e2e.steps import rank_pods, serving_pods
from e2e.world import World
from harness import deploy
from harness.kubectl import Kubectl, Object

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def served(elsewhere: World) -> World:
    until_served(elsewhere, "keyed", UIDS)
    return elsewhere


def operators(kubectl: Kubectl) -> list[Object]:
    return kubectl.items("pods", "-n", deploy.SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/name=tunecast")


@pytest.mark.parametrize("who", ["operator", "ranks", "replicas"])
def test_all_of_tunecast_uses_the_proxy(served: World, who: str) -> None:
    kubectl = served.kubectl
    pods = {
        "operator": operators(kubectl),
        "ranks": rank_pods(kubectl, UIDS),
        "replicas": serving_pods(kubectl, "keyed", UIDS),
    }[who]
    asked = private_store.tunnelled(kubectl)
    store = urlsplit(served.environment["TUNECAST_S3_TLS_ENDPOINT"]).netloc
    assert pods
    assert [asked.get(pod["status"]["podIP"]) for pod in pods] == [{f"CONNECT {store}"}] * len(pods)


def test_helm_test_uses_the_proxy(served: World) -> None:
    served.kubectl.helm("test", "tunecast", "-n", deploy.SYSTEM_NAMESPACE, "--timeout=2m")


def test_neither_authority_nor_proxy_is_in_a_pod_template(served: World) -> None:
    """A proxy in the engine's environment would redirect its other traffic, and vLLM hashes most variables."""
    authority = Path(served.environment["TUNECAST_S3_TLS_AUTHORITY"]).read_text().splitlines()[1]
    pods = [*rank_pods(served.kubectl, UIDS), *serving_pods(served.kubectl, "keyed", UIDS)]
    text = str([pod["spec"] for pod in pods])
    assert private_store.PROXY not in text
    assert authority not in text
