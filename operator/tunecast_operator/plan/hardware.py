"""Which kinds of hardware to tune for besides the one that the scheduler chose first: those that replicas run on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunecast_core.hardware import UNKNOWN, is_cpu, is_name
from tunecast_core.records.report import NO_BUNDLE_FOR_HARDWARE, NO_MANIFEST
from tunecast_operator import conditions as c
from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import CacheReference
from tunecast_operator.conditions import Condition
from tunecast_operator.pods import Pod, init_report, node
from tunecast_operator.pods import key as pod_key

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
# What tells nodes of one GPU product from others, most exact first.
GPU_LABELS = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "eks.amazonaws.com/instance-gpu-name",
    "karpenter.k8s.aws/instance-gpu-name",
    "k8s.amazonaws.com/accelerator",
    "gpu.nvidia.com/model",
    INSTANCE_TYPE,
)
CPU_LABELS = (INSTANCE_TYPE,)
_GIVEN_UP = {"Failed", "Ineffective", "Quarantined"}
NODES_LIMIT = 16  # nodes that a node affinity names, where no label tells them from others


@dataclass(frozen=True, slots=True)
class ColdHardware:
    """Replicas that started cold, since no bundle of their key was made on hardware like their nodes'."""

    hardware: str
    replicas: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Hardware to tune for.

    Attributes:
        hardware: its name.
        node_selector_terms: terms of a node affinity. Nodes with this hardware match one of them.
    """

    hardware: str
    node_selector_terms: tuple[dict[str, Any], ...]


def cold_hardware(pods: Iterable[Pod], key: str, caches: Sequence[StartupCache]) -> list[ColdHardware]:
    """Finds replicas of ``key`` that run on hardware without a bundle.

    Before the first bundle of the key is published, replicas start cold whatever they run on, so none are found.

    Args:
        pods: serving pods.
        key: the key to look at.
        caches: StartupCaches of this key.
    """
    ready = {cache.hardware for cache in caches if cache.state == "Ready"}
    reasons = {NO_BUNDLE_FOR_HARDWARE, *([NO_MANIFEST] if ready else [])}
    found: dict[str, list[str]] = defaultdict(list)
    for pod in pods:
        report = init_report(pod)
        if report is None or report.reason not in reasons or report.hardware in {UNKNOWN, *ready}:
            continue
        if not is_name(report.hardware):  # an init container that names none, or somebody else's words
            continue
        if pod_key(pod) == key:
            found[report.hardware].append(node(pod))
    return [
        ColdHardware(hardware, len(nodes), tuple(sorted({*nodes} - {""}))) for hardware, nodes in sorted(found.items())
    ]


def targets(
    cold: Iterable[ColdHardware], caches: Sequence[StartupCache], labels: Mapping[str, Mapping[str, str]], limit: int
) -> list[Target]:
    """Decides what to begin to tune for.

    Args:
        cold: where replicas started cold.
        caches: StartupCaches of the same key.
        labels: of nodes, by name; empty where the operator may not read nodes.
        limit: how many kinds of hardware may be tuned for in all; those that were given up don't count.
    """
    known = {cache.hardware for cache in caches} - {""}
    tuned = {cache.hardware for cache in caches if cache.state not in _GIVEN_UP} - {""}
    missing = [one for one in cold if one.hardware not in known and one.nodes]
    return [Target(one.hardware, _terms(one, labels)) for one in missing[: max(0, limit - len(tuned))]]


def _terms(one: ColdHardware, labels: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, Any], ...]:
    """By the first label that all of these nodes have; else by their names, of which a term takes one.

    Nodes of which nothing is known don't count: they are gone, and names alone would lead to others that go too.
    """
    known = [labels[name] for name in one.nodes if labels.get(name)]
    for label in CPU_LABELS if is_cpu(one.hardware) else GPU_LABELS:
        values = {found.get(label, "") for found in known}
        if values and all(values):
            return ({"matchExpressions": [{"key": label, "operator": "In", "values": sorted(values)}]},)
    return tuple(
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}
        for name in one.nodes[:NODES_LIMIT]
    )


def missing_condition(cold: Sequence[ColdHardware], caches: Sequence[CacheReference]) -> Condition | None:
    """What is done about replicas that run on hardware without a bundle; None where there are none.

    Args:
        cold: where replicas started cold.
        caches: StartupCaches of the key, also those that are about to be created.
    """
    if not cold:
        return None
    by_hardware = {cache.hardware: cache for cache in caches}
    said = [_said(one, by_hardware.get(one.hardware)) for one in cold]
    reason = max((reason for reason, _ in said), key=_WORST.index)
    text = "; ".join(message for _, message in said)
    return Condition(c.BUNDLE_MISSING, "True", reason, text, warning=reason != c.TUNING_FOR_HARDWARE)


_WORST = (c.TUNING_FOR_HARDWARE, c.HARDWARE_NOT_TUNED, c.HARDWARE_LIMIT)


def _said(one: ColdHardware, cache: CacheReference | None) -> tuple[str, str]:
    what = f"{one.replicas} replica(s) on {one.hardware} started cold"
    if cache is None:
        return c.HARDWARE_LIMIT, f"{what}: raise spec.tuning.hardwareLimit to tune for it"
    if cache.state in _GIVEN_UP:
        return c.HARDWARE_NOT_TUNED, f"{what}: StartupCache {cache.name} is {cache.state}"
    return c.TUNING_FOR_HARDWARE, f"{what}: StartupCache {cache.name} tunes for it"
