"""The hardware that is tuned for because replicas run on it."""

from __future__ import annotations

from typing import Any

import pytest

from tunecast_core.records.codec import canonical
from tunecast_core.records.report import InitReport
from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import CacheReference, StartupCacheStatus, State
from tunecast_operator.plan.hardware import ColdHardware, Target, cold_hardware, missing_condition, named_nodes, targets

H100, L4, A100, CPU = "nvidia-h100-x86-64", "nvidia-l4-x86-64", "nvidia-a100-x86-64", "cpu-x86-64-v4-0123456789"
PRODUCT, TYPE = "nvidia.com/gpu.product", "node.kubernetes.io/instance-type"


def pod(hardware: str, reason: str = "NoBundleForThisGPU", node: str = "n1", key: str = "k") -> dict[str, Any]:
    result: Any = "Hit" if reason == "Installed" else "Cold"
    message = canonical(InitReport(result, reason, "", key, hardware=hardware)).decode()
    ended = {"terminated": {"message": message, "finishedAt": "2026-01-01T10:00:00Z"}}
    return {
        "metadata": {"name": "p", "labels": {"tunecast.io/key": key}},
        "spec": {"nodeName": node} if node else {},
        "status": {"initContainerStatuses": [{"name": "tunecast-init", "state": ended}]},
    }


def cache(hardware: str, state: str = "Ready", *, asked: bool = False) -> StartupCache:
    """Returns a StartupCache for ``hardware``, which is in its spec if it was ``asked`` for."""
    status = StartupCacheStatus(state=State(state), hardware=hardware or None)
    return StartupCache("c", "k", "", deleting=False, status=status, asked_hardware=hardware if asked else "")


def by(label: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": label, "operator": "In", "values": list(values)}]}


def named(*nodes: str) -> tuple[dict[str, Any], ...]:
    return tuple({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]} for node in nodes)


FIRST = [cache(H100)]
UNTUNED = [cache("", "Tuning")]


@pytest.mark.parametrize(
    ("pods", "caches", "found"),
    [
        ([pod(L4)], FIRST, [ColdHardware(L4, 1, ("n1",))]),
        ([pod(L4), pod(L4, node="n2"), pod(L4)], FIRST, [ColdHardware(L4, 3, ("n1", "n2"))]),
        ([pod(L4, node="")], FIRST, [ColdHardware(L4, 1, ())]),
        ([pod(L4, "NoManifest")], FIRST, [ColdHardware(L4, 1, ("n1",))]),
        ([pod(L4, "NoManifest")], UNTUNED, []),
        ([pod(H100, "NoManifest")], FIRST, []),
        ([pod(L4)], [*FIRST, cache(L4, asked=True)], []),
        ([pod(L4)], [*FIRST, cache(L4, "Tuning", asked=True)], [ColdHardware(L4, 1, ("n1",))]),
        ([pod("unknown")], FIRST, []),
        ([pod("")], FIRST, []),
        ([pod("../Words")], FIRST, []),
        ([pod(L4, "Installed")], FIRST, []),
        ([pod(L4, "StoreUnavailable")], FIRST, []),
        ([pod(L4, key="old")], FIRST, []),
    ],
    ids=[
        "another GPU", "replicas and nodes are counted", "its node is not known yet",
        "it started before the first bundle", "nothing is published at all",
        "it started before the bundle that fits it", "a bundle was published since", "a bundle is being tuned",
        "its GPU is unknown", "it names none", "an invalid name", "warm", "the store's fault",
        "a replica of an old revision",
    ],
)  # fmt: skip
def test_which_replicas_lack_a_bundle_for_their_hardware(pods: Any, caches: Any, found: Any) -> None:
    assert cold_hardware(pods, "k", caches) == found


@pytest.mark.parametrize(
    ("hardware", "labels", "terms"),
    [
        (
            L4,
            {"n1": {PRODUCT: "NVIDIA-L4", TYPE: "g2"}, "n2": {PRODUCT: "NVIDIA-L4", TYPE: "g6"}},
            (by(PRODUCT, "NVIDIA-L4"),),
        ),
        (L4, {"n1": {PRODUCT: "NVIDIA-L4", TYPE: "g2"}, "n2": {TYPE: "g6"}}, (by(TYPE, "g2", "g6"),)),
        (CPU, {"n1": {PRODUCT: "NVIDIA-L4", TYPE: "c5"}, "n2": {PRODUCT: "NVIDIA-L4", TYPE: "c5"}}, (by(TYPE, "c5"),)),
        (L4, {"n1": {PRODUCT: "NVIDIA-L4"}, "n2": {}}, (by(PRODUCT, "NVIDIA-L4"),)),
        (L4, {}, named("n1", "n2")),
    ],
    ids=[
        "by product", "by instance type where a node lacks the product", "a GPU's label does not name a CPU",
        "a node that is gone has no labels", "by name where nodes can't be read",
    ],
)  # fmt: skip
def test_ranks_go_to_nodes_like_those_of_the_replicas(hardware: str, labels: Any, terms: Any) -> None:
    assert targets([ColdHardware(hardware, 2, ("n1", "n2"))], FIRST, labels, 4) == [Target(hardware, terms)]


def test_hardware_that_is_tuned_for_is_not_tuned_for_again() -> None:
    caches = [*FIRST, cache(L4, "Failed", asked=True)]
    assert targets([ColdHardware(L4, 1, ("n1",))], caches, {}, 4) == []


def test_hardware_waits_until_a_node_with_it_is_known() -> None:
    assert targets([ColdHardware(L4, 1, ())], FIRST, {}, 4) == []


def test_the_limit_counts_the_first_hardware_too() -> None:
    cold = [ColdHardware(A100, 1, ("n1",)), ColdHardware(L4, 1, ("n2",))]
    assert [target.hardware for target in targets(cold, FIRST, {}, 2)] == [A100]


def test_hardware_that_was_abandoned_does_not_count_to_the_limit() -> None:
    caches = [*FIRST, cache(L4, "Failed", asked=True)]
    assert [target.hardware for target in targets([ColdHardware(A100, 1, ("n1",))], caches, {}, 2)] == [A100]


@pytest.mark.parametrize(
    ("cold", "states", "reason", "warning"),
    [
        ([L4], {L4: "Pending"}, "TuningForHardware", False),
        ([L4], {L4: "Tuning"}, "TuningForHardware", False),
        ([L4], {L4: "Failed"}, "HardwareNotTuned", True),
        ([L4], {L4: "Ineffective"}, "HardwareNotTuned", True),
        ([L4], {}, "HardwareLimitReached", True),
        ([A100, L4], {A100: "Tuning", L4: "Failed"}, "HardwareNotTuned", True),
        ([A100, L4], {A100: "Failed"}, "HardwareLimitReached", True),
    ],
)
def test_the_condition_reports_what_is_done_for_missing_bundles(
    cold: Any, states: Any, reason: str, warning: bool
) -> None:
    caches = [
        CacheReference(name=f"c-{hardware}", hardware=hardware, state=state) for hardware, state in states.items()
    ]
    found = missing_condition([ColdHardware(hardware, 2, ("n1",)) for hardware in cold], caches)
    assert found
    assert (found.type, found.status, found.reason, found.warning) == ("BundleMissing", "True", reason, warning)
    assert all(f"2 replica(s) on {hardware} started cold" in found.message for hardware in cold)
    assert all(f"c-{hardware}" in found.message for hardware in states)


def test_no_condition_where_every_replica_has_its_bundle() -> None:
    assert missing_condition([], []) is None


def on(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"nodeSelectorTerms": list(terms)}
    return {"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}}


@pytest.mark.parametrize(
    ("template", "nodes"),
    [
        (on(*named("n1", "n2")), {"n1", "n2"}),
        (on({**named("n1")[0], **by(TYPE, "g2")}), {"n1"}),
        (on(*named("n1"), by(TYPE, "g2")), set()),
        (on(by(PRODUCT, "NVIDIA-L4")), set()),
        (on(*named(*(f"n{number}" for number in range(17)))), set()),
        (on(), set()),
        ({"spec": {}}, set()),
    ],
    ids=["by name", "by name and label", "by name or label", "by label", "too many to read", "no terms", "no affinity"],
)
def test_nodes_to_which_ranks_are_tied_by_name(template: dict[str, Any], nodes: set[str]) -> None:
    assert named_nodes(template) == nodes
