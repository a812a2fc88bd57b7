"""The StartupCaches that an InferenceDeployment wants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.objects import (
    inference_deployment,
    key_in,
    serving_pod,
    snapshot_of,
)
from support.serving import OWNER, condition, plan, serving, startup_cache
from tunecast_core.records.codec import canonical
from tunecast_core.records.report import InitReport
from tunecast_operator.api.status import CacheReference
from tunecast_operator.snapshot import cache_name


def started_cold_on(hardware: str, owner: dict[str, Any]) -> dict[str, Any]:
    """Returns a serving pod on hardware without a bundle."""
    report = InitReport("Cold", "NoBundleForThisGPU", "", key_in(owner), hardware=hardware)
    pod = serving_pod("p", "", {})
    pod["metadata"]["labels"] = {"tunecast.io/key": key_in(owner)}
    pod["spec"] = {"nodeName": "n1"}
    ended = pod["status"]["initContainerStatuses"][0]["state"]["terminated"]
    ended["message"] = canonical(report).decode()
    return pod


def test_hardware_that_replicas_start_cold_on_is_tuned_for_and_nothing_rolls() -> None:
    first = startup_cache(OWNER, "Ready", "Published", hardware="h100")
    seen = plan(OWNER, first, live=serving(), pods=[started_cold_on("l4", OWNER)])
    [(name, snapshot)] = seen.create_caches
    assert (snapshot["key"], snapshot["hardware"]) == (first.key, "l4")
    assert seen.status.startup_caches == [
        CacheReference(name=first.name, hardware="h100", state="Ready"),
        CacheReference(name=name, hardware="l4", state="Pending"),
    ]
    assert condition(seen, "BundleMissing").reason == "TuningForHardware"
    assert condition(seen, "Ready").status == "True"
    assert seen.apply_deployment == plan(OWNER, first, live=serving()).apply_deployment

    other = replace(first, name=name, asked_hardware="l4")
    later = plan(OWNER, first, other, live=serving(), pods=[started_cold_on("l4", OWNER)])
    assert later.create_caches == ()
    assert [cache.state for cache in later.status.startup_caches or ()] == ["Ready", "Ready"]
    assert "BundleMissing" not in {found.type for found in later.conditions}


def test_a_cache_for_other_hardware_is_never_used_as_the_first_one() -> None:
    ready = startup_cache(OWNER, "Ready", "Published", hardware="l4")
    other = replace(ready, name="qwen3-8b-0123456789", asked_hardware="l4")
    assert [name for name, _ in plan(OWNER, other).create_caches] == [cache_name(snapshot_of(OWNER))]


def test_never_tunes_for_no_hardware() -> None:
    owner = inference_deployment(replicas=1, tuning={"policy": "Never"})
    first = startup_cache(owner, "Ready", "Published", hardware="h100")
    seen = plan(owner, first, pods=[started_cold_on("l4", owner)])
    assert (seen.create_caches, seen.status.startup_caches) == ((), None)
    assert "BundleMissing" not in {found.type for found in seen.conditions}


def test_a_smaller_hardware_limit_creates_no_cache_and_keeps_those_that_exist() -> None:
    owner = inference_deployment(replicas=2, tuning={"hardwareLimit": 1})
    first = startup_cache(owner, "Ready", "Published", hardware="h100")
    other = replace(startup_cache(owner, "Tuning", "Tuning"), name="qwen3-8b-0123456789", asked_hardware="l4")
    seen = plan(owner, first, other, pods=[started_cold_on("l4", owner), started_cold_on("a100", owner)])
    assert seen.create_caches == ()
    assert seen.status.cache_names == [first.name, other.name]


def test_never_makes_no_cache() -> None:
    owner = inference_deployment(replicas=1, tuning={"policy": "Never"})
    seen = plan(owner)
    assert (seen.create_caches, seen.status.cache) == ((), "Cold")
    assert seen.status.startup_caches is None
