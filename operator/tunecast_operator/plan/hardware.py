"""Which kinds of hardware to tune for besides the one that the scheduler chose first: those that replicas run on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunecast_cache.hardware import UNKNOWN
from tunecast_cache.report import NO_BUNDLE_FOR_HARDWARE, InitReport

LIMIT = 4  # kinds of hardware of one key that are tuned for because replicas asked
# What tells nodes of one GPU product from others, most exact first.
NODE_LABELS = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "node.kubernetes.io/instance-type",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A replica that started cold, since no bundle of its key was made on hardware like its node's."""

    hardware: str
    node: str


@dataclass(frozen=True, slots=True)
class Target:
    """Hardware to tune for.

    Attributes:
        hardware: its name.
        node_selector_term: a term of a node affinity that only nodes with this hardware match.
    """

    hardware: str
    node_selector_term: dict[str, Any]


def asked(report: InitReport, node: str) -> Asked | None:
    """What a replica's report asks for; None where it asks for nothing, or names no hardware."""
    wants = report.reason == NO_BUNDLE_FOR_HARDWARE and report.hardware not in {"", UNKNOWN}
    return Asked(report.hardware, node) if wants and node else None


def targets(
    found: Iterable[Asked], labels: Mapping[str, Mapping[str, str]], tuned: Sequence[str], limit: int = LIMIT
) -> tuple[list[Target], list[str]]:
    """Decides what to tune for.

    Args:
        found: what replicas asked for.
        labels: of nodes, by name; empty where the operator may not read nodes.
        tuned: hardware that is tuned for already.
        limit: how many kinds of hardware may be tuned for in all.

    Returns:
        What to begin now, by name, and the names that the limit leaves out.
    """
    nodes: dict[str, set[str]] = defaultdict(set)
    for one in found:
        nodes[one.hardware].add(one.node)
    missing = sorted(nodes.keys() - set(tuned))
    room = max(0, limit - len(tuned))
    begun = [Target(hardware, _term(nodes[hardware], labels)) for hardware in missing[:room]]
    return begun, missing[room:]


def _term(nodes: set[str], labels: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """By the first label that all of these nodes have; else by their names."""
    for label in NODE_LABELS:
        values = {labels.get(node, {}).get(label, "") for node in nodes}
        if all(values):
            return {"matchExpressions": [{"key": label, "operator": "In", "values": sorted(values)}]}
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": sorted(nodes)}]}
