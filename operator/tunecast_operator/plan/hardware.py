"""Decides which further kinds of hardware to tune for: those on which replicas started cold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunecast_core.hardware import UNKNOWN, is_cpu, is_name
from tunecast_core.records.report import NO_BUNDLE_FOR_HARDWARE, NO_MANIFEST, NO_TRUST
from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import CacheReference, State
from tunecast_operator.conditions import Condition, ConditionType, Reason
from tunecast_operator.pods import Pod, init_report, node
from tunecast_operator.pods import key as pod_key

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
# Labels that distinguish nodes of one GPU product from others, the most exact first.
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
_GIVEN_UP = {State.FAILED, State.INEFFECTIVE, State.QUARANTINED}
NODES_LIMIT = 16  # nodes that a node affinity names, where no label distinguishes them


@dataclass(frozen=True, slots=True)
class ColdHardware:
    """Hardware on which replicas started cold, since no bundle of their key was made on it."""

    hardware: str
    replicas: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Hardware to tune for.

    Attributes:
        hardware: name of the hardware.
        node_selector_terms: terms of a node affinity. Nodes with this hardware match one of them.
    """

    hardware: str
    node_selector_terms: tuple[dict[str, Any], ...]


def cold_hardware(pods: Iterable[Pod], key: str, caches: Sequence[StartupCache]) -> list[ColdHardware]:
    """Finds replicas of ``key`` that run on hardware without a bundle.

    Before the first bundle of the key is published, replicas start cold on any hardware, so none is found.

    Args:
        pods: serving pods.
        key: the key to look at.
        caches: StartupCaches of this key.
    """
    ready = {cache.hardware for cache in caches if cache.state == State.READY}
    reasons = {NO_BUNDLE_FOR_HARDWARE, *([NO_MANIFEST, NO_TRUST] if ready else [])}
    found: dict[str, list[str]] = defaultdict(list)
    for pod in pods:
        report = init_report(pod)
        if report is None or report.reason not in reasons or report.hardware in {UNKNOWN, *ready}:
            continue
        if not is_name(report.hardware):  # an older init container names none, and anybody can write a report
            continue
        if pod_key(pod) == key:
            found[report.hardware].append(node(pod))
    return [
        ColdHardware(hardware, len(nodes), tuple(sorted({*nodes} - {""}))) for hardware, nodes in sorted(found.items())
    ]


def targets(
    cold: Iterable[ColdHardware], caches: Sequence[StartupCache], labels: Mapping[str, Mapping[str, str]], limit: int
) -> list[Target]:
    """Returns the hardware to begin to tune for.

    Args:
        cold: hardware on which replicas started cold.
        caches: StartupCaches of the same key.
        labels: labels of nodes, by node; empty where the operator may not read nodes.
        limit: maximum number of kinds of hardware to tune for; those that were given up don't count.
    """
    known = {cache.hardware for cache in caches} - {""}
    tuned = {cache.hardware for cache in caches if cache.state not in _GIVEN_UP} - {""}
    missing = [one for one in cold if one.hardware not in known and one.nodes]
    return [Target(one.hardware, _terms(one, labels)) for one in missing[: max(0, limit - len(tuned))]]


def _terms(one: ColdHardware, labels: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, Any], ...]:
    """Selects the nodes by the first label that all of them have, else by their names, with one term for each name.

    Nodes without known labels are gone. They are ignored, since a name would only select a node that may go as well.
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


def named_nodes(template: Mapping[str, Any]) -> set[str]:
    """Returns the nodes to which a pod template is tied by their names.

    Returns none if it also selects other nodes, or names more nodes than the operator would.
    """
    affinity = (template["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    by_term = [_named(term) for term in required.get("nodeSelectorTerms") or ()]
    found = set().union(*by_term)
    return found if all(by_term) and len(found) <= NODES_LIMIT else set()


def _named(term: Mapping[str, Any]) -> set[str]:
    """Returns the nodes that a term names."""
    found = [field for field in term.get("matchFields") or () if field.get("operator") == "In"]
    return {str(value) for field in found for value in field.get("values") or ()}


def missing_condition(cold: Sequence[ColdHardware], caches: Sequence[CacheReference]) -> Condition | None:
    """Returns the condition BundleMissing; None if no replica runs on hardware without a bundle.

    Args:
        cold: hardware on which replicas started cold.
        caches: StartupCaches of the key, also those that are about to be created.
    """
    if not cold:
        return None
    by_hardware = {cache.hardware: cache for cache in caches}
    missing = [_missing(one, by_hardware.get(one.hardware)) for one in cold]
    reason = max((reason for reason, _ in missing), key=_WORST.index)
    text = "; ".join(message for _, message in missing)
    return Condition(ConditionType.BUNDLE_MISSING, "True", reason, text, warning=reason != Reason.TUNING_FOR_HARDWARE)


_WORST = (Reason.TUNING_FOR_HARDWARE, Reason.HARDWARE_NOT_TUNED, Reason.HARDWARE_LIMIT)


def _missing(one: ColdHardware, cache: CacheReference | None) -> tuple[str, str]:
    what = f"{one.replicas} replica(s) on {one.hardware} started cold"
    if cache is None:
        return Reason.HARDWARE_LIMIT, f"{what}: raise spec.tuning.hardwareLimit to tune for it"
    if cache.state in _GIVEN_UP:
        return Reason.HARDWARE_NOT_TUNED, f"{what}: StartupCache {cache.name} is {cache.state}"
    return Reason.TUNING_FOR_HARDWARE, f"{what}: StartupCache {cache.name} tunes for it"
