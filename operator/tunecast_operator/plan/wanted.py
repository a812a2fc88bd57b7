"""Decides which StartupCaches an InferenceDeployment refers to: one for its key, others for further hardware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunecast_operator.api.startup_cache import StartupCache
from tunecast_operator.api.status import CacheReference, State
from tunecast_operator.conditions import OVERDUE, ConditionType
from tunecast_operator.identity import key_of, template_digest
from tunecast_operator.plan.hardware import ColdHardware, cold_hardware, targets
from tunecast_operator.plan.init_settings import init_settings
from tunecast_operator.plan.serving import ObservedServing
from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.resources.revision import Revision
from tunecast_operator.snapshot import cache_name, cache_spec, for_hardware

# Replicas no longer wait for StartupCaches in these states, or for those that are overdue.
_DECIDED = {State.READY, State.INEFFECTIVE, State.FAILED, State.QUARANTINED}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The revision that the spec asks for, and the StartupCaches that go with it.

    Attributes:
        revision: the revision, not held and without the variables that a bundle needs.
        name: name of the StartupCache that decides when replicas start.
        cache: that StartupCache; None before it is created.
        elsewhere: StartupCaches of the same key for other hardware.
        create: names and specs of StartupCaches to create.
        cold: hardware on which replicas started cold.
    """

    revision: Revision
    name: str
    cache: StartupCache | None
    elsewhere: Sequence[StartupCache]
    create: Sequence[tuple[str, dict[str, Any]]]
    cold: Sequence[ColdHardware]

    @property
    def caches(self) -> list[StartupCache]:
        """StartupCaches that exist."""
        return [*([self.cache] if self.cache else []), *self.elsewhere]

    @property
    def state(self) -> State:
        """The state of the StartupCache that decides when replicas start."""
        return self.cache.state if self.cache else State.PENDING

    @property
    def decided(self) -> bool:
        """Whether replicas no longer wait for the StartupCache."""
        if self.cache is None:
            return False
        return self.state in _DECIDED or self.cache.status.reason(ConditionType.READY) in OVERDUE

    @property
    def references(self) -> list[CacheReference]:
        """The StartupCaches that status names: the one that decides before those for other hardware."""
        new = [
            CacheReference(name=name, hardware=spec.get("hardware"), state=State.PENDING) for name, spec in self.create
        ]
        there = [CacheReference(name=k.name, hardware=k.hardware or None, state=k.state) for k in self.caches]
        return [*there, *new] if self.cache else [*new, *there]


def wanted(seen: ObservedServing, init: InitContainer, key_version: int) -> Wanted:
    """Returns what the spec asks for.

    A live revision of the same spec keeps its key version. It also keeps its settings of the init container, unless
    they may keep all pods from starting.
    """
    spec_digest, live, line = template_digest(seen.spec), seen.live, seen.engine.line
    if live and live.spec == spec_digest:
        init, key_version = init_settings(seen, live.init, init), live.key_version
    key = key_of(seen.spec, seen.engine, key_version)
    revision = Revision(
        spec_digest, key, key_version, init.image, init.pull_policy,
        environment={}, held=False, port=line.port, tls=line.scheme == "https", init_container=init.settings,
    )  # fmt: skip
    snapshot = cache_spec(seen.spec, seen.engine, key, key_version)
    same_key = sorted((cache for cache in seen.caches if cache.key == key), key=lambda cache: cache.name)
    cache = _choose([cache for cache in same_key if not cache.asked_hardware], cache_name(snapshot))
    elsewhere = [cache for cache in same_key if cache.asked_hardware]
    name = cache.name if cache else cache_name(snapshot)
    if not seen.tunes:
        return Wanted(revision, name, cache, elsewhere, (), ())
    there = [*([cache] if cache else []), *elsewhere]
    cold = cold_hardware(seen.pods, key, there)
    missing = targets(cold, there, seen.nodes, seen.spec.tuning.hardware_limit)
    create = [] if cache else [(name, snapshot)]
    create += [for_hardware(snapshot, target) for target in missing]
    return Wanted(revision, name, cache, elsewhere, tuple(create), cold)


def _choose(same_key: Sequence[StartupCache], own_name: str) -> StartupCache | None:
    """Chooses a StartupCache that is Ready, whatever its other settings; else the one that this spec names."""
    ready = [cache for cache in same_key if cache.state == State.READY]
    own = [cache for cache in same_key if cache.name == own_name]
    return next(iter([*ready, *own]), None)
