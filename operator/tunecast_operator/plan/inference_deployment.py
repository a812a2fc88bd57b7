"""What to do about an InferenceDeployment: which cache it wants, and whether its replicas may start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from tunecast_core.records.report import InitReport
from tunecast_operator import conditions as c
from tunecast_operator import times
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.api.startup_cache import StartupCache, startup_cache
from tunecast_operator.api.status import CacheReference, MadeWith
from tunecast_operator.conditions import Condition
from tunecast_operator.engine import Engine
from tunecast_operator.identity import key_of, template_digest
from tunecast_operator.plan.blocked import EVICTED, blocked
from tunecast_operator.plan.crashes import Crash
from tunecast_operator.plan.drift import Drift, drift
from tunecast_operator.plan.hardware import cold_hardware, missing_condition, targets
from tunecast_operator.plan.quarantine import judge, outdated, restored
from tunecast_operator.pods import engine, engine_name, over
from tunecast_operator.pods import key as pod_key
from tunecast_operator.resources.deployment import deployment
from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.resources.quarantine import Quarantine
from tunecast_operator.resources.replica import selector
from tunecast_operator.resources.revision import RENDERER, Revision, revision_of
from tunecast_operator.resources.service import serving_service
from tunecast_operator.snapshot import cache_name, cache_spec, for_hardware

# StartupCaches in these states, and those whose waiting is overdue, hold no replica back any longer.
_DECIDED = {"Ready", "Ineffective", "Failed", "Quarantined"}
# An old revision without a ready replica for so long serves nobody: it no longer keeps a new one waiting for its cache.
FAILING_SECONDS = 120.0  # where its engines crash, or its pods can't start
STARTING_SECONDS = 600.0  # where its replicas only take long to start: a Deployment's default progressDeadlineSeconds
_SERVES = float("inf")


@dataclass(frozen=True, slots=True)
class Observed:
    owner: Mapping[str, Any]  # the InferenceDeployment
    spec: InferenceDeploymentSpec
    engine: Engine
    deployment: Mapping[str, Any] | None
    caches: Sequence[Mapping[str, Any]]  # of its namespace
    pods: Sequence[Mapping[str, Any]]  # its serving pods
    reports: Sequence[tuple[str, InitReport]]  # (the key a pod was made for, what its init container said)
    now: datetime
    crashes: Sequence[Crash] = ()  # of all pods that share a key with a pod of this owner that crashed
    quarantine: Quarantine = field(default_factory=Quarantine)  # as the namespace's trust ConfigMap records it
    trust_version: str = ""  # of the ConfigMap that said so
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # labels, by node

    @property
    def name(self) -> str:
        return str(self.owner["metadata"]["name"])

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.owner.get("status") or {})


@dataclass(frozen=True, slots=True)
class Wanted:
    """The revision that the spec asks for, and the StartupCache that goes with it."""

    revision: Revision
    snapshot: dict[str, Any]  # spec of the StartupCache to create where none serves
    cache_name: str
    cache: Mapping[str, Any] | None
    elsewhere: Sequence[StartupCache]  # of the same key, for other hardware

    @property
    def caches(self) -> list[StartupCache]:
        """All StartupCaches that there are for the revision."""
        return [*([startup_cache(self.cache)] if self.cache else []), *self.elsewhere]


@dataclass(frozen=True, slots=True)
class Plan:
    create_caches: tuple[tuple[str, dict[str, Any]], ...]  # name and spec
    apply_deployment: dict[str, Any] | None  # to be applied where it differs
    scale: int | None  # the old revision goes on serving, at this size
    service: dict[str, Any]
    status: dict[str, Any]
    conditions: tuple[Condition, ...]
    quarantine: Quarantine
    outdated_caches: tuple[str, ...]  # StartupCaches whose state doesn't say yet what ``quarantine`` says
    replace: tuple[Crash, ...]  # replicas to delete: they would crash from a quarantined bundle for ever
    requeue_seconds: float | None = None  # when to look again, where no event would say so


def decide(seen: Observed, init: InitContainer, key_version: int) -> Plan:
    """``init`` and ``key_version`` are the operator's own; revisions that exist keep theirs."""
    wanted = _wanted(seen, init, key_version)
    tunes = seen.spec.tuning.policy != "Never"
    waiting = seen.spec.tuning.policy == "TuneFirst" and not _decided(wanted.cache)
    live = _live(seen)
    patience = _patience(seen)
    keeps_old = waiting and live is not None and not live.held and live.key != wanted.revision.key and patience > 0
    held = waiting and (seen.deployment is None or (live is not None and live.held))
    revision = replace(wanted.revision, held=held, environment=_environment(wanted, live, held=held))
    applied = None if keeps_old else _deployment(seen, revision, live, held=held)
    service = _live_service(seen, live) if keeps_old and live else _service(seen)
    create = [(wanted.cache_name, wanted.snapshot)] if tunes and wanted.cache is None else []
    cold = cold_hardware(seen.pods, wanted.revision.key, wanted.caches) if tunes else []
    missing = targets(cold, wanted.caches, seen.nodes, seen.spec.tuning.hardware_limit)
    create += [for_hardware(wanted.snapshot, target) for target in missing]
    named = _named(wanted, create) if tunes else []
    shown = live if keeps_old and live else revision
    found = _drift(seen, wanted)
    caches = [startup_cache(cache) for cache in seen.caches]
    quarantine = judge(restored(seen.quarantine, caches), seen.crashes)
    status = _status(seen, wanted, shown, named) | ({"drift": [asdict(d) for d in found]} if found else {})
    ready = _ready_condition(seen, held=held, applied=applied is None or live == revision)
    cache = _cache_condition(wanted) if tunes else _untuned_condition(seen, wanted, quarantine)
    extra = [*_drifted(found), *([uncovered] if (uncovered := missing_condition(cold, named)) else [])]
    conditions = (*_conditions(wanted, ready, cache, held=held, keeps_old=keeps_old, tunes=tunes), *extra)
    scale = _old_size(seen) if applied is None else None
    ours = {pod["metadata"]["uid"] for pod in seen.pods}
    crashing = (c for c in seen.crashes if not c.cold and c.uid in ours and c.manifest in quarantine.digests)
    outdated_caches = outdated(quarantine, caches)
    again = patience if keeps_old and patience != _SERVES else None
    return Plan(
        tuple(create), applied, scale, service, status, conditions, quarantine, outdated_caches, tuple(crashing), again
    )


def _live(seen: Observed) -> Revision | None:
    """The revision that the Deployment was rendered with. It is held only while it has no replicas.

    An administrator scales a Deployment that is held, where no operator runs to release it.
    """
    revision = revision_of(dict(seen.deployment)) if seen.deployment else None
    return revision and replace(revision, held=revision.held and not _live_replicas(seen))


def _live_replicas(seen: Observed) -> int:
    return int(((seen.deployment or {}).get("spec") or {}).get("replicas", 1))


def _patience(seen: Observed) -> float:
    """Seconds for which the old revision, which has no ready replica, still keeps a new one waiting."""
    live = seen.deployment or {}
    status = live.get("status") or {}
    if status.get("readyReplicas") or not _live_replicas(seen):
        return _SERVES
    available = c.find(status, "Available")
    since = available.get("lastTransitionTime") or live.get("metadata", {}).get("creationTimestamp")
    why = blocked(seen.pods, live, seen.now)
    fails = any(engine(pod).restarts for pod in seen.pods) or (why is not None and why.reason != EVICTED)
    return (FAILING_SECONDS if fails else STARTING_SECONDS) - times.seconds_since(since, seen.now)


def _service(seen: Observed) -> dict[str, Any]:
    line = seen.engine.line
    return serving_service(dict(seen.owner), seen.engine.container, line.port, tls=line.scheme == "https")


def _live_service(seen: Observed, live: Revision) -> dict[str, Any]:
    """In front of the old revision, which goes on serving."""
    template = (seen.deployment or {})["spec"]["template"]
    containers = [c for c in template["spec"]["containers"] if c["name"] == engine_name(template)]
    return serving_service(dict(seen.owner), containers[0] if containers else {}, live.port, tls=live.tls)


def _wanted(seen: Observed, init: InitContainer, key_version: int) -> Wanted:
    spec_digest = template_digest(seen.spec)
    live = _live(seen)
    if live and live.spec == spec_digest:
        init, key_version = live.init, live.key_version
    key = key_of(seen.spec, seen.engine, key_version)
    snapshot = cache_spec(seen.spec, seen.engine, key, key_version)
    same_key = sorted((k for k in seen.caches if k["spec"]["key"] == key), key=lambda k: str(k["metadata"]["name"]))
    cache = _choose([k for k in same_key if not k["spec"].get("hardware")], cache_name(snapshot))
    name = str(cache["metadata"]["name"]) if cache else cache_name(snapshot)
    line = seen.engine.line
    revision = Revision(
        spec_digest, key, key_version, init.image, init.pull_policy,
        environment={}, held=False, port=line.port, tls=line.scheme == "https", init_container=init.settings,
    )  # fmt: skip
    elsewhere = [startup_cache(k) for k in same_key if k["spec"].get("hardware")]
    return Wanted(revision, snapshot, name, cache, elsewhere)


def _choose(same_key: Sequence[Mapping[str, Any]], own_name: str) -> Mapping[str, Any] | None:
    """One that is ready with this key serves whatever it was tuned on; else the one shaped like this spec."""
    ready = [cache for cache in same_key if _state(cache) == "Ready"]
    own = [cache for cache in same_key if cache["metadata"]["name"] == own_name]
    return next(iter([*ready, *own]), None)


def _state(cache: Mapping[str, Any] | None) -> str:
    return str(((cache or {}).get("status") or {}).get("state", "Pending"))


def _decided(cache: Mapping[str, Any] | None) -> bool:
    if cache is None:
        return False
    overdue = c.find(cache.get("status") or {}, c.READY).get("reason") in c.OVERDUE
    return _state(cache) in _DECIDED or overdue


def _environment(wanted: Wanted, live: Revision | None, *, held: bool) -> dict[str, str]:
    """A revision that has, or had, replicas keeps what it was rendered with; a new one takes what the proof says."""
    if live and not live.held and live.spec == wanted.revision.spec:
        return live.environment
    if held or _state(wanted.cache) != "Ready":
        return {}
    return dict(((wanted.cache or {}).get("status") or {}).get("environment") or {})


def _deployment(seen: Observed, revision: Revision, live: Revision | None, *, held: bool) -> dict[str, Any] | None:
    """None where a live revision of the same spec was rendered by another version of this operator: it stays."""
    same = live is not None and live.spec == revision.spec and live.held == revision.held
    replicas = 0 if held else _replicas(seen, live)
    if same and live is not None and live.renderer != RENDERER:
        return None
    return deployment(dict(seen.owner), seen.spec, seen.engine, revision, replicas)


def _replicas(seen: Observed, live: Revision | None) -> int | None:
    """The spec's; else the live value while it is ours, 1 when held ones are let go; None where another owns it."""
    if seen.spec.replicas is not None:
        return seen.spec.replicas
    if seen.deployment is None or (live is not None and live.held):
        return 1
    owner = _replicas_owner(seen.deployment or {})
    return _live_replicas(seen) if owner == "tunecast" else None


def _replicas_owner(live: Mapping[str, Any]) -> str:
    """Who set ``spec.replicas`` last, as the API server keeps it."""
    for entry in live.get("metadata", {}).get("managedFields", ()):
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {}):
            return str(entry.get("manager"))
    return "tunecast"


def _old_size(seen: Observed) -> int | None:
    current = ((seen.deployment or {}).get("spec") or {}).get("replicas")
    return seen.spec.replicas if seen.spec.replicas not in (None, current) else None


# --- status -----------------------------------------------------------------------------------------------------------


def _named(wanted: Wanted, create: Sequence[tuple[str, dict[str, Any]]]) -> list[CacheReference]:
    """The StartupCaches that are wanted: those that there are, the first one before those for other hardware."""
    new = [CacheReference(name=name, hardware=spec.get("hardware"), state="Pending") for name, spec in create]
    there = [CacheReference(name=k.name, hardware=k.hardware or None, state=k.state) for k in wanted.caches]
    return [*there, *new] if wanted.cache else [*new, *there]


def _status(seen: Observed, wanted: Wanted, shown: Revision, named: Sequence[CacheReference]) -> dict[str, Any]:
    live = (seen.deployment or {}).get("status") or {}
    cached = (wanted.cache or {}).get("status") or {}
    status: dict[str, Any] = {
        "replicas": live.get("replicas", 0),
        "readyReplicas": live.get("readyReplicas", 0),
        "desiredReplicas": _desired(seen),
        "selector": ",".join(f"{name}={value}" for name, value in selector(seen.name).items()),
        "cache": _column(seen, wanted, tunes=bool(named)),
        "key": wanted.revision.key,
        "model": seen.engine.line.model,
        "rendered": {
            "key": shown.key,
            "keyVersion": shown.key_version,
            "initImage": shown.init_image,
            "specDigest": shown.spec,
            "environment": shown.environment,
        },
    }
    if named:
        status["startupCaches"] = [k.model_dump(by_alias=True, exclude_none=True) for k in named]
    if seen.engine.notes:
        status["notes"] = list(seen.engine.notes)
    status |= {name: cached[name] for name in ("cold", "warm") if cached.get(name)}
    return status | _init_reports(seen.reports)


def _desired(seen: Observed) -> int:
    """The spec's, else the live value; a Deployment that is held waits to become one replica."""
    if seen.spec.replicas is not None:
        return seen.spec.replicas
    live = _live(seen)
    return 1 if live is None or live.held else _live_replicas(seen)


def _column(seen: Observed, wanted: Wanted, *, tunes: bool) -> str:
    """Hit, Tuning, Cold or Failed: what replicas get that start now, or got if all of them say so."""
    state = _state(wanted.cache)
    if state == "Ready":
        said = [report.result for key, report in seen.reports if key == wanted.revision.key]
        return "Cold" if said and "Hit" not in said else "Hit"
    if state == "Failed":
        return "Failed"
    if state in {"Ineffective", "Quarantined"} or not tunes or _decided(wanted.cache):
        return "Cold"
    return "Tuning"


def _drift(seen: Observed, wanted: Wanted) -> list[Drift]:
    serving = [pod for pod in seen.pods if pod_key(pod) == wanted.revision.key and not over(pod)]
    ready = [cache for cache in wanted.caches if cache.state == "Ready"]
    made_with = {cache.hardware: cache.status.made_with or MadeWith() for cache in ready}
    return drift(made_with, serving, seen.nodes)


def _drifted(found: Sequence[Drift]) -> tuple[Condition, ...]:
    if not found:
        return ()
    return (Condition(c.DRIFTED, "True", found[0].reason, "; ".join(map(str, found)), warning=True),)


def _init_reports(reports: Sequence[tuple[str, InitReport]]) -> dict[str, Any]:
    if not reports:
        return {}
    counts = Counter(report.reason for _, report in reports)
    summary: dict[str, Any] = {"counts": [{"reason": r, "count": n} for r, n in sorted(counts.items())]}
    cold = [report.message for _, report in reports if report.result == "Cold"]
    return {"initReports": summary | ({"lastMessage": min(cold)} if cold else {})}


def _conditions(
    wanted: Wanted, ready: Condition, cache: Condition, *, held: bool, keeps_old: bool, tunes: bool
) -> tuple[Condition, ...]:
    rolling = ready.status == "False" or keeps_old or (tunes and not _decided(wanted.cache))
    reason = cache.reason if keeps_old or held else c.ROLLING_OUT
    message = cache.message if keeps_old or held else ready.message
    if keeps_old:
        message = f"the old revision serves until the new one's cache is ready: {message}"
    reconciling = (
        Condition(c.RECONCILING, "True", reason, message) if rolling else Condition(c.RECONCILING, "False", c.IDLE, "")
    )
    return ready, cache, reconciling, Condition(c.STALLED, "False", c.IDLE, "")


def _untuned_condition(seen: Observed, wanted: Wanted, quarantine: Quarantine) -> Condition:
    """Nothing is tuned, but replicas may start from a bundle of this key, and crash from it."""
    why = "spec.tuning.policy is Never"
    manifests = {report.manifest for key, report in seen.reports if key == wanted.revision.key}
    if banned := sorted(manifests & {*quarantine.digests}):
        said = quarantine.message(banned[0]) or "its manifest is quarantined in the trust ConfigMap"
        text = f"{why}, and the bundle of this key is not used: {said}"
        return Condition(c.CACHE_READY, "False", c.QUARANTINED, text, warning=True)
    return Condition(c.CACHE_READY, "False", c.DISABLED, why)


def _cache_condition(wanted: Wanted) -> Condition:
    if wanted.cache is None:
        return Condition(c.CACHE_READY, "False", c.WAITING, f"StartupCache {wanted.cache_name} was created")
    found = c.find(wanted.cache.get("status") or {}, c.READY)
    if not found:
        return Condition(c.CACHE_READY, "False", c.WAITING, f"StartupCache {wanted.cache_name} was created")
    reason, message = str(found["reason"]), f"StartupCache {wanted.cache_name}: {found['message']}"
    if found["status"] == "True":
        return Condition(c.CACHE_READY, "True", reason, message)
    return Condition(c.CACHE_READY, "False", reason, message, warning=_decided(wanted.cache))


def _ready_condition(seen: Observed, *, held: bool, applied: bool) -> Condition:
    """Ready says nothing of a revision that is only about to be applied: whoever waits for it waits on."""
    if held:
        text = "replicas start when the cache is ready, or tuning gives up"
        return Condition(c.READY, "False", c.HELD, text)
    live = seen.deployment or {}
    status, spec = live.get("status") or {}, live.get("spec") or {}
    desired, ready = _desired(seen), int(status.get("readyReplicas", 0))
    observed = status.get("observedGeneration", 0) >= live.get("metadata", {}).get("generation", 1)
    current = applied and observed and spec.get("replicas", 1) == desired
    why = blocked(seen.pods, live, seen.now)
    if live and current and ready >= desired and int(status.get("updatedReplicas", 0)) >= desired:
        return Condition(
            c.READY, "True", c.REPLICAS_READY, f"{ready} of {desired} replicas are ready{_warm_words(seen)}"
        )
    detail = f": {why.reason}: {why.message}" if why else ""
    return Condition(c.READY, "False", c.REPLICAS_NOT_READY, f"{ready} of {desired} replicas are ready{detail}")


def _warm_words(seen: Observed) -> str:
    if not seen.reports:
        return ""
    hits = sum(report.result == "Hit" for _, report in seen.reports)
    cold = Counter(report.reason for _, report in seen.reports if report.result == "Cold")
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(cold.items()))
    return f"; {hits} started warm" + (f", {sum(cold.values())} cold ({reasons})" if cold else "")
