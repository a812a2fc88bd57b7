"""A namespace that enforces the restricted Pod Security profile, and an engine that runs as nobody in particular."""

from __future__ import annotations

import pytest

from e2e.steps import cache_of, init_report, serving_pods, until_cache, until_ready
from e2e.world import World

pytestmark = pytest.mark.e2e


def test_a_restricted_engine_is_tuned_and_starts_warm(world: World, restricted: str) -> None:
    kubectl = world.kubectl
    until_cache(kubectl, "tiny", restricted, {"Published", "Ineffective", "AttemptsExhausted", "QueueTimeout"})
    until_ready(kubectl, "tiny", restricted)
    status = cache_of(kubectl, "tiny", restricted)["status"]
    assert (status["verdict"], status["proof"]["mode"]) == ("Hit", "SamePod")
    [replica] = serving_pods(kubectl, "tiny", restricted)
    assert init_report(replica)["result"] == "Hit"
    kubectl("delete", "namespace", restricted)
