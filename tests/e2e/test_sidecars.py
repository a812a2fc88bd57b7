"""Namespaces with a sidecar injector: ranks opt out by themselves; where they cannot, attempts still end."""

from __future__ import annotations

import pytest

from e2e.elsewhere import ALWAYS_INJECTED, INJECTED, until_served
from e2e.steps import cache_of, init_report, rank_pods, serving_pods
from e2e.world import World
from harness.kubectl import Object

pytestmark = pytest.mark.e2e


def containers(pod: Object) -> list[str]:
    return [container["name"] for container in pod["spec"]["containers"]]


@pytest.fixture(scope="module", params=[INJECTED, ALWAYS_INJECTED])
def namespace(request: pytest.FixtureRequest, elsewhere: World) -> str:
    found: str = request.param
    until_served(elsewhere, "tiny", found)
    return found


def test_an_attempt_ends_with_its_engines_and_the_bundle_is_published(elsewhere: World, namespace: str) -> None:
    status = cache_of(elsewhere.kubectl, "tiny", namespace)["status"]
    assert (status["state"], status["attempt"]) == ("Ready", 1)


def test_a_replica_with_a_sidecar_starts_warm(elsewhere: World, namespace: str) -> None:
    [replica] = serving_pods(elsewhere.kubectl, "tiny", namespace)
    assert "istio-proxy" in containers(replica)
    assert init_report(replica)["result"] == "Hit"


def test_ranks_opt_out(elsewhere: World, namespace: str) -> None:
    """Ranks opt out by themselves if the injector allows it."""
    if namespace == INJECTED:
        assert [containers(pod) for pod in rank_pods(elsewhere.kubectl, INJECTED)] == [["vllm"]] * 2


def test_ranks_whose_sidecar_would_run_for_ever_are_gone(elsewhere: World, namespace: str) -> None:
    """No rank holds a GPU after the attempt."""
    running = [pod for pod in rank_pods(elsewhere.kubectl, namespace) if pod["status"]["phase"] == "Running"]
    assert running == []
