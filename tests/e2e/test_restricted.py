"""An engine that runs as nobody, with vLLM's defaults, in a namespace with the restricted Pod Security profile.

On a CPU, vLLM rebuilds its own artefact at every start, and the proof reports it.
"""

from __future__ import annotations

import pytest

from e2e.steps import cache_of, init_report, serving_pods, until_cache, until_ready
from e2e.world import World
from harness.kubectl import condition

pytestmark = pytest.mark.e2e


def test_a_restricted_engine_is_tuned_and_starts_with_what_was_published(world: World, restricted: str) -> None:
    kubectl = world.kubectl
    until_cache(kubectl, "tiny", restricted, {"Published", "Ineffective", "AttemptsExhausted", "QueueTimeout"})
    until_ready(kubectl, "tiny", restricted)
    status = cache_of(kubectl, "tiny", restricted)["status"]
    assert (status["state"], status["proof"]["mode"]) == ("Ready", "SamePod")
    [replica] = serving_pods(kubectl, "tiny", restricted)
    assert init_report(replica)["result"] == "Hit"


def test_an_artefact_that_does_not_load_is_reported(world: World, restricted: str) -> None:
    kubectl = world.kubectl
    [rank] = cache_of(kubectl, "tiny", restricted)["status"]["proof"]["ranks"]
    layers = {layer["layer"]: layer for layer in rank["layers"]}
    verdicts = {name: layer["verdict"] for name, layer in layers.items()}
    assert verdicts == {"PythonBytecode": "Hit", "TorchCompile": "Partial", "VllmMeta": "Hit"}
    assert "load failure" in layers["TorchCompile"]["reason"]
    assert "load failure" in kubectl("describe", "startupcaches", "-n", restricted)
    assert condition(kubectl.get("infd", "tiny", "-n", restricted), "CacheReady")["status"] == "True"
    kubectl("delete", "namespace", restricted, "--wait=false")
