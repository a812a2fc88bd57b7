"""What to do about adopted pods of one key: which StartupCaches to create, and which bundles to quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunecast_operator.adoption.adopted import Adopted
from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.plan.crashes import Crash
from tunecast_operator.plan.hardware import cold_hardware, targets
from tunecast_operator.plan.quarantine import Protection, protect
from tunecast_operator.pods import Pod
from tunecast_operator.resources.quarantine import Quarantine
from tunecast_operator.snapshot import cache_name, cache_spec, for_hardware


@dataclass(frozen=True, slots=True)
class ObservedAdoption:
    """What is known of the adopted pods of one namespace and key.

    Attributes:
        adopted: what one of them asks for. All of them would tune the same. None where no pod has this key any more by
            what it asks for now.
        pods: those with the key.
        caches: StartupCaches of the namespace.
        crashes: of all pods with the key.
        quarantine: as the namespace's trust ConfigMap records it.
        nodes: labels, by node.
    """

    adopted: Adopted | None
    pods: Sequence[Pod]
    caches: Sequence[StartupCache]
    crashes: Sequence[Crash] = ()
    quarantine: Quarantine = field(default_factory=Quarantine)
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """What is to be done.

    Attributes:
        create_caches: name and spec of the StartupCaches to create.
        protection: what protects the pods from a bundle that engines crash from.
    """

    create_caches: Sequence[tuple[str, dict[str, Any]]]
    protection: Protection


def decide(seen: ObservedAdoption, key_version: int) -> AdoptionPlan:
    """Tunes for the key, and for each kind of hardware on which pods started cold, as for an InferenceDeployment."""
    return AdoptionPlan(
        create_caches=_missing(seen, seen.adopted, key_version) if seen.adopted and seen.adopted.tunes else (),
        protection=protect(seen.quarantine, seen.caches, seen.crashes, filter(_is_replaced, seen.pods)),
    )


def _missing(seen: ObservedAdoption, found: Adopted, key_version: int) -> list[tuple[str, dict[str, Any]]]:
    spec, key = found.spec, found.key
    same_key = [cache for cache in seen.caches if cache.key == key]
    snapshot = cache_spec(spec, found.engine, key, key_version)
    first = [] if any(not cache.asked_hardware for cache in same_key) else [(cache_name(snapshot), snapshot)]
    cold = cold_hardware(seen.pods, key, same_key)
    return [
        *first,
        *(for_hardware(snapshot, target) for target in targets(cold, same_key, seen.nodes, spec.tuning.hardware_limit)),
    ]


def _is_replaced(pod: Pod) -> bool:
    """Whether a controller creates a pod in its place. A Job counts a deleted pod as a failure, and may end by it."""
    references = pod["metadata"].get("ownerReferences") or ()
    return any(reference.get("controller") and reference.get("kind") != "Job" for reference in references)
