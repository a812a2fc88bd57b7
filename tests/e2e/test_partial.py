"""vLLM's default on a CPU: its AOT artefact is made again at every start. The proof finds that by itself."""

from __future__ import annotations

import pytest

from e2e.steps import cache_of, until_cache
from e2e.world import World
from harness.kubectl import condition

pytestmark = pytest.mark.e2e


def test_an_artefact_that_does_not_load_is_found_and_said(world: World, defaults: str) -> None:
    kubectl = world.kubectl
    until_cache(kubectl, "tiny", defaults, {"Published", "Ineffective", "AttemptsExhausted"})
    [rank] = cache_of(kubectl, "tiny", defaults)["status"]["proof"]["ranks"]
    verdicts = {layer["layer"]: layer for layer in rank["layers"]}
    assert verdicts["TorchCompile"]["verdict"] == "Partial"
    assert "load failure" in verdicts["TorchCompile"]["reason"]
    assert "load failure" in kubectl("describe", "kernelcaches", "-n", defaults)
    assert condition(kubectl.get("infd", "tiny", "-n", defaults), "CacheReady")["status"] == "True"
