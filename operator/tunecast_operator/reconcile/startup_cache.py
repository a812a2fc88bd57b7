"""Reconciles a StartupCache: observe the cluster and the store, decide, apply, write status."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tunecast_core.errors import BundleError, MalformedError, NotFoundError, StoreError, TunecastError
from tunecast_core.records.codec import canonical
from tunecast_core.trust.settings import CONFIG_MAP as TRUST
from tunecast_operator import times
from tunecast_operator.api.startup_cache import StartupCacheSpec, startup_cache
from tunecast_operator.api.status import InferenceDeploymentStatus, StartupCacheStatus, read_status
from tunecast_operator.conditions import Condition, ConditionType
from tunecast_operator.engine import engine_of
from tunecast_operator.identity import ATTEMPT_LABEL, CACHE_LABEL, KEY_LABEL
from tunecast_operator.plan import startup_cache as plans
from tunecast_operator.plan import tuning
from tunecast_operator.plan.blocked import refusal
from tunecast_operator.plan.ends import GIVEN_UP
from tunecast_operator.plan.hardware import named_nodes
from tunecast_operator.plan.outcome import attempt_ended, of_job
from tunecast_operator.plan.rivals import rival
from tunecast_operator.plan.workloads import UsingPod
from tunecast_operator.reconcile.hiccups import Hiccups
from tunecast_operator.reconcile.nodes import Nodes
from tunecast_operator.reconcile.orphans import Orphans
from tunecast_operator.reconcile.ownership import check_owner, outlives, owned, taken
from tunecast_operator.reconcile.status import StatusWriter
from tunecast_operator.resources.job import attempt_id, attempt_name, job, settings_name, settings_secret
from tunecast_operator.resources.quarantine import quarantine_in
from tunecast_operator.resources.service import ranks_service
from tunecast_operator.runtime.cluster import (
    CONFIG_MAP,
    INFERENCE_DEPLOYMENT,
    JOB,
    POD,
    SECRET,
    SERVICE,
    STARTUP_CACHE,
    Cluster,
    ClusterError,
    ConflictError,
)  # fmt: skip
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.metrics import Metrics
from tunecast_operator.runtime.publisher import Publisher, renewal_seconds
from tunecast_operator.runtime.tuning_slots import TuningSlots

log = logging.getLogger(__name__)


class SweepError(TunecastError):
    reason = "BadSweep"


class StartupCacheReconciler:
    """Level-triggered: each run reads the whole state again, and may end after any step."""

    def __init__(
        self,
        cluster: Cluster,
        publisher: Publisher,
        installation: Installation,
        now: Callable[[], datetime],
        metrics: Metrics,
        slots: TuningSlots,
        adopted: Callable[[str, str], Sequence[UsingPod]] = lambda _namespace, _key: (),
    ) -> None:
        self._cluster, self._publisher, self._installation, self._now = cluster, publisher, installation, now
        self._metrics, self._slots, self._adopted = metrics, slots, adopted
        self._nodes = Nodes(cluster, installation.read_nodes)
        self._orphans = Orphans(cluster, publisher, now)
        self._status = StatusWriter(cluster, STARTUP_CACHE, has_event, metrics, now)
        self._hiccups = Hiccups()

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Returns after how many seconds to requeue without an event."""
        cache = self._cluster.get(STARTUP_CACHE, namespace, name)
        if cache is None or cache["metadata"].get("deletionTimestamp"):
            self._status.gone(namespace, name)
            self._hiccups.over(namespace, name)
            self._slots.release(namespace, name)
            return self._orphans.clean(namespace, name)
        self._orphans.exists(cache)
        plan = self._carry_out(self._observe(cache))
        self._write(cache, plan)
        if plan.status.job is None:
            self._slots.release(namespace, name)
        return plan.requeue_seconds

    def _carry_out(self, seen: tuning.ObservedTuning) -> tuning.TuningPlan:
        """Decides and acts. Returns the plan with the status to write."""
        plan = plans.decide(seen)
        if plan.begins_attempt and (queued := self._slots.take(startup_cache(seen.cache))):
            plan = plans.decide(replace(seen, queued=queued))
        namespace, name = seen.cache["metadata"]["namespace"], seen.cache["metadata"]["name"]
        try:
            done = self._perform_all(seen, plan)
        except ConflictError:
            raise
        except TunecastError as error:
            if type(error) is ClusterError and self._hiccups.first(namespace, name):
                raise
            if isinstance(error, StoreError):
                self._metrics.store_failed(error.reason)
            publishing = any(isinstance(action, tuning.Publish) for action in plan.actions)
            if publishing and isinstance(error, (BundleError, MalformedError, NotFoundError)):
                return self._carry_out(replace(seen, publish_error=error))
            log.warning("StartupCache %s/%s: %s", namespace, name, error)
            return plans.not_done(seen, plan, error)
        self._hiccups.over(namespace, name)
        return replace(plan, status=plan.status | done)

    def _write(self, cache: dict[str, Any], plan: tuning.TuningPlan) -> None:
        if not plan.conditions or any(isinstance(action, tuning.DeleteStartupCache) for action in plan.actions):
            return
        self._status.write(cache, plan.status, plan.conditions)

    # --- observe ------------------------------------------------------------------------------------------------------

    def _observe(self, cache: dict[str, Any]) -> tuning.ObservedTuning:
        namespace, name = cache["metadata"]["namespace"], cache["metadata"]["name"]
        spec = StartupCacheSpec.model_validate(cache["spec"])
        jobs = self._cluster.list(JOB, namespace, f"{CACHE_LABEL}={name}")
        if others := [job["metadata"]["name"] for job in jobs if outlives(job, cache)]:
            raise ConflictError(
                f"StartupCache {namespace}/{name}: Jobs of an earlier one of this name are being deleted: {others}"
            )
        newest = max((job for job in jobs if owned(job, cache)), key=tuning.attempt_of, default=None)
        known = startup_cache(cache)
        same_key = map(startup_cache, self._cluster.list(STARTUP_CACHE, namespace, f"{KEY_LABEL}={spec.key}"))
        seen = tuning.ObservedTuning(
            cache,
            spec,
            known.status,
            wanted_by=self._wanted_by(namespace, name),
            now=self._now(),
            adopted=self._adopted(namespace, spec.key),
            rival=rival(known, same_key),
            nodes_gone=bool(spec.hardware) and self._nodes.all_gone(named_nodes(spec.template)),
            job=newest,
            quarantine=quarantine_in(self._cluster.get(CONFIG_MAP, namespace, TRUST)),
        )
        if seen.attempt:
            pods = self._cluster.list(POD, namespace, f"{CACHE_LABEL}={name},{ATTEMPT_LABEL}={seen.attempt}")
            seen = replace(seen, pods=[pod for pod in pods if of_job(pod, attempt_name(cache, seen.attempt))])
        if newest and len(seen.pods) < spec.ranks and not attempt_ended(newest, seen.pods):
            events = self._cluster.events_about(namespace, newest["metadata"]["uid"])
            seen = replace(seen, refusal=refusal(events))
        if newest and not seen.status.started_at:
            seen = replace(seen, waited_for=self._slots.waited_for(known))
        return self._observe_store(seen)

    def _wanted_by(self, namespace: str, name: str) -> list[str]:
        owners = self._cluster.list(INFERENCE_DEPLOYMENT, namespace)
        living = (o for o in owners if not o["metadata"].get("deletionTimestamp"))
        statuses = ((o["metadata"]["name"], read_status(InferenceDeploymentStatus, o)) for o in living)
        return sorted(owner for owner, status in statuses if name in status.cache_names)

    def _observe_store(self, seen: tuning.ObservedTuning) -> tuning.ObservedTuning:
        namespace, key = seen.cache["metadata"]["namespace"], seen.spec.key
        staged = attempt_id(dict(seen.cache), seen.attempt)
        try:
            if seen.status.state in GIVEN_UP and not seen.unresolved and not seen.lifted:
                return seen
            hardware = seen.spec.hardware or seen.status.hardware or ""
            seen = replace(seen, published=self._publisher.find(namespace, key, hardware))
            if seen.published:
                return seen
            if not seen.unresolved or seen.job is None:
                return seen
            if attempt_ended(seen.job, seen.pods):
                return replace(seen, results=self._publisher.results(namespace, key, staged, seen.spec.ranks))
            return replace(seen, progress=self._publisher.progress(namespace, key, staged))
        except StoreError as error:
            self._metrics.store_failed(error.reason)
            return replace(seen, store_error=error)

    # --- apply --------------------------------------------------------------------------------------------------------

    def _perform_all(self, seen: tuning.ObservedTuning, plan: tuning.TuningPlan) -> StartupCacheStatus:
        """Performs the actions. Returns the resulting changes of the status."""
        done = StartupCacheStatus()
        for action in plan.actions:
            namespace, name = seen.cache["metadata"]["namespace"], seen.cache["metadata"]["name"]
            attempt = getattr(action, "attempt", seen.attempt)
            log.info("StartupCache %s/%s: %s, attempt %d", namespace, name, type(action).__name__, attempt)
            done |= self._perform(seen, action) or StartupCacheStatus()
        return done

    def _perform(self, seen: tuning.ObservedTuning, action: tuning.Action) -> StartupCacheStatus | None:
        cache, spec = dict(seen.cache), seen.spec
        namespace, name = cache["metadata"]["namespace"], cache["metadata"]["name"]
        match action:
            case tuning.CreateAttempt(attempt):
                return self._begin(cache, spec, attempt, seen.now)
            case tuning.RenewSettings(attempt):
                return self._apply_settings(cache, spec, attempt, seen.now)
            case tuning.DeleteJob(job_name, uid):
                self._cluster.delete(JOB, namespace, job_name, uid)
            case tuning.Publish(attempt, result):
                self._publisher.publish(cache, spec, attempt, result, seen.now)
            case tuning.CleanUpAttempt(attempt):
                self._publisher.clean(namespace, spec.key, attempt_id(cache, attempt))
                self._cluster.delete(SECRET, namespace, settings_name(cache, attempt))
            case tuning.DeleteService():
                self._delete_service(cache)
            case tuning.DeleteStartupCache():
                self._cluster.delete(STARTUP_CACHE, namespace, name, cache["metadata"]["uid"])
        return None

    def _begin(self, cache: dict[str, Any], spec: StartupCacheSpec, attempt: int, now: datetime) -> StartupCacheStatus:
        """Creates the Service and the Secret, then the Job, so that its pods wait for neither.

        It checks the store first, since uploads would only fail after two starts of the engine.
        """
        self._publisher.check()
        namespace, service = cache["metadata"]["namespace"], ranks_service(cache)
        if not self._cluster.create(SERVICE, service):
            check_owner(SERVICE, service, self._cluster.get(SERVICE, namespace, cache["metadata"]["name"]))
        done = self._apply_settings(cache, spec, attempt, now)
        made = job(cache, spec, engine_of(spec.template, spec.engine), attempt, self._installation.init)
        if not self._cluster.create(JOB, made):  # a Job of this StartupCache would have been observed
            raise taken(JOB, f"{namespace}/{attempt_name(cache, attempt)}")
        return done

    def _delete_service(self, cache: dict[str, Any]) -> None:
        namespace, name = cache["metadata"]["namespace"], cache["metadata"]["name"]
        found = self._cluster.get(SERVICE, namespace, name)
        if found and owned(found, cache):
            self._cluster.delete(SERVICE, namespace, name, found["metadata"]["uid"])

    def _apply_settings(
        self, cache: dict[str, Any], spec: StartupCacheSpec, attempt: int, now: datetime
    ) -> StartupCacheStatus:
        settings = self._publisher.settings(cache, spec, attempt, self._sweep(cache, spec))
        self._cluster.apply(SECRET, settings_secret(cache, attempt, settings))
        return StartupCacheStatus(settings_renew_at=times.text(now + timedelta(seconds=renewal_seconds(settings))))

    def _sweep(self, cache: dict[str, Any], spec: StartupCacheSpec) -> tuple[dict[str, Any], ...]:
        if spec.sweep is None:
            return ()
        namespace = cache["metadata"]["namespace"]
        found = self._cluster.get(CONFIG_MAP, namespace, spec.sweep.name)
        text = ((found or {}).get("data") or {}).get(spec.sweep.key)
        if text is None:
            raise SweepError(f"ConfigMap {namespace}/{spec.sweep.name} has no key {spec.sweep.key}: create it")
        return parse_sweep(text, f"ConfigMap {namespace}/{spec.sweep.name}")


def parse_sweep(text: str, what: str) -> tuple[dict[str, Any], ...]:
    """Parses requests, one JSON object in each line. Empty lines are skipped."""
    requests = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            canonical(request)  # ranks get it in this encoding
        except (ValueError, RecursionError) as error:
            raise SweepError(f"{what}, line {number}: {error}") from error
        if not isinstance(request, dict):
            raise SweepError(f"{what}, line {number}: a request must be a JSON object")
        requests.append(request)
    return tuple(requests)


def has_event(condition: Condition) -> bool:
    """Whether a transition gets an Event: Ready has the same reason as the other conditions."""
    return condition.type == ConditionType.READY
