"""Prometheus metrics: counters of what happens, and gauges of the status of every object."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tunecast_core.bundle.layers import BY_NAME
from tunecast_core.errors import StoreError, TunecastError
from tunecast_core.records import job
from tunecast_core.records import report as init_report
from tunecast_core.records.report import InitReport
from tunecast_operator import times
from tunecast_operator.api.proof_status import StartStatus
from tunecast_operator.api.status import CommonStatus, InferenceDeploymentStatus, StartupCacheStatus, State
from tunecast_operator.conditions import Reason, Transition
from tunecast_operator.plan.outcome import AttemptReason

RECONCILE_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60)
INIT_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60)
INIT_PHASES = {"start", "clear", "manifest", "fetch", "unpack", "total"}
RESULTS = ("Success", "Conflict", "Failure", "Bug")
ENDS = {
    State.READY: Reason.PUBLISHED,
    State.INEFFECTIVE: Reason.INEFFECTIVE,
}  # results of attempts, by the state in which they end
Key = tuple[str, str, str]  # kind, namespace, name


class Metrics:
    """Thread-safe. Runs that ended before ``since`` aren't counted, since a restarted operator sees them again."""

    def __init__(self, since: datetime) -> None:
        self.registry = CollectorRegistry()
        self._since = since
        self._objects = Objects()
        self._inits: dict[tuple[str, str], frozenset[str]] = {}
        self.registry.register(self._objects)
        self._queue = Gauge(
            "tunecast_queue_length",
            "Number of objects that wait to be reconciled or are being reconciled.",
            registry=self.registry,
        )
        self._reconciles = self._counter("tunecast_reconciles", "Reconciliations, by result.", "kind", "result")
        self._reconcile_seconds = self._histogram(
            "tunecast_reconcile_seconds", "Duration of reconciliations.", RECONCILE_SECONDS, "kind"
        )
        self._transitions = self._counter(
            "tunecast_transitions",
            "Changes of the status or reason of a condition.",
            "kind", "type", "status", "reason",
        )  # fmt: skip
        self._attempts = self._counter(
            "tunecast_tuning_attempts",
            "Attempts that ended, by result: Published, Ineffective, or the reason of the failure.",
            "result",
        )
        self._store_errors = self._counter(
            "tunecast_store_errors", "Operations of the operator that the store failed, by reason.", "reason"
        )
        self._init_containers = self._counter(
            "tunecast_init_containers",
            "Init containers that ended, by the result and reason that they reported.",
            "result",
            "reason",
        )
        self._init_layers = self._counter("tunecast_init_layers", "Layers that init containers installed.", "layer")
        self._init_bytes = self._counter("tunecast_init_bytes", "Bytes that init containers fetched.")
        self._webhook_certificate = Gauge(
            "tunecast_webhook_certificate_expiry_timestamp_seconds",
            "When the webhook's certificate in the Secret expires, in seconds since 1970.",
            ("namespace", "name"),
            registry=self.registry,
        )
        self._init_seconds = self._histogram(
            "tunecast_init_seconds", "Duration of each phase of an init container, and total.", INIT_SECONDS, "phase"
        )

        self._begin()

    def _begin(self) -> None:
        """Initializes counters with zeros. Without a zero, Prometheus misses the first increase."""
        for kind in ("StartupCache", "InferenceDeployment", "MutatingWebhookConfiguration"):
            for result in RESULTS:
                self._reconciles.labels(kind, result)
        for reason in _reasons_of_errors(StoreError):
            self._store_errors.labels(reason)
        for result in RESULTS_OF_ATTEMPTS:
            self._attempts.labels(result)
        for reason in REASONS_OF_REPORTS:
            self._init_containers.labels("Hit" if reason == init_report.INSTALLED else "Cold", reason)
        for phase in INIT_PHASES:
            self._init_seconds.labels(phase)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=tuple(buckets), registry=self.registry)

    def watch_queue(self, length: Callable[[], int]) -> None:
        self._queue.set_function(length)

    def reconciled(self, kind: str, result: str, seconds: float) -> None:
        """Counts a reconciliation. ``result`` is Success, Conflict, Failure or Bug."""
        self._reconciles.labels(kind, result).inc()
        self._reconcile_seconds.labels(kind).observe(seconds)

    def store_failed(self, reason: str) -> None:
        self._store_errors.labels(reason).inc()

    def webhook_certificate(self, namespace: str, name: str, expiry: datetime | None) -> None:
        """When the certificate in a Secret expires; None where the Secret has none."""
        if expiry is None:
            self._webhook_certificate.clear()
        else:
            self._webhook_certificate.labels(namespace, name).set(expiry.timestamp())

    def transitioned(self, kind: str, transitions: Iterable[Transition]) -> None:
        for condition in (transition.condition for transition in transitions):
            self._transitions.labels(kind, condition.type, condition.status, condition.reason).inc()

    def observe(self, key: Key, before: CommonStatus, status: CommonStatus) -> None:
        """Records the status of an object, as it was read and as it is now."""
        self._objects.put(key, status)
        if result := ended(before, status):
            self._attempts.labels(known(result, RESULTS_OF_ATTEMPTS)).inc()

    def forget(self, key: Key) -> None:
        """Drops an object that is gone."""
        self._objects.drop(key)
        self._inits.pop(key[1:], None)

    def count_inits(self, namespace: str, name: str, reports: Mapping[str, tuple[str, InitReport]]) -> None:
        """Counts new reports of init containers: by pod and run, each with the time when the run ended."""
        known = self._inits.get((namespace, name), frozenset())
        self._inits[namespace, name] = frozenset(reports)
        for run in reports.keys() - known:
            finished, report = reports[run]
            if times.parse(finished) >= self._since:
                self._count(report)

    def _count(self, report: InitReport) -> None:
        self._init_containers.labels(report.result, known(report.reason, REASONS_OF_REPORTS)).inc()
        self._init_bytes.inc(max(0, report.bytes))
        for layer in set(report.layers):
            self._init_layers.labels(known(layer, BY_NAME)).inc()
        for phase in INIT_PHASES & report.seconds.keys():
            self._init_seconds.labels(phase).observe(max(0.0, report.seconds[phase]))


def known(word: str, words: Container[str]) -> str:
    """Replaces a word that isn't known. Tenants write reports, and must not create labels."""
    return word if word in words else OTHER


def _reasons(module: object) -> set[str]:
    words = (value for name, value in vars(module).items() if name.isupper() and isinstance(value, str))
    return {word for word in words if re.fullmatch("[A-Z][A-Za-z]+", word)}


def _reasons_of_errors(kind: type[TunecastError]) -> set[str]:
    return {kind.reason}.union(*(_reasons_of_errors(other) for other in kind.__subclasses__()))


OTHER = "Other"
RESULTS_OF_ATTEMPTS = {*ENDS.values(), *_reasons(job), *AttemptReason, *_reasons_of_errors(TunecastError)}
REASONS_OF_REPORTS = {*_reasons(init_report), *_reasons_of_errors(TunecastError), job.BAD_SETTINGS}


def ended(before: CommonStatus, after: CommonStatus) -> str:
    """Returns the result of an attempt that ended between two statuses of a StartupCache; empty if none did."""
    if not isinstance(before, StartupCacheStatus) or not isinstance(after, StartupCacheStatus):
        return ""
    if after.last_failure and after.last_failure != before.last_failure:
        return after.last_failure.reason
    return ENDS.get(after.state, "") if after.state and after.state != before.state else ""


class Objects(Collector):
    """Gauges of all objects, from the statuses that were last read or written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[Key, CommonStatus] = {}

    def put(self, key: Key, status: CommonStatus) -> None:
        with self._lock:
            self._statuses[key] = status

    def drop(self, key: Key) -> None:
        with self._lock:
            self._statuses.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            statuses = dict(self._statuses)
        for name, (text, labels, samples) in FAMILIES.items():
            family = GaugeMetricFamily(name, text, labels=("namespace", "name", *labels))
            for (kind, *names), status in statuses.items():
                for values, value in samples(kind, status):
                    family.add_metric((*names, *values), value)
            yield family


Sample = tuple[tuple[str, ...], float]
Samples = Callable[[str, CommonStatus], Iterator[Sample]]


def _states(_kind: str, status: CommonStatus) -> Iterator[Sample]:
    if isinstance(status, StartupCacheStatus) and status.state:
        yield (status.state if status.referred_by or status.used_by else Reason.UNWANTED,), 1.0


def _queue_position(_kind: str, status: CommonStatus) -> Iterator[Sample]:
    if isinstance(status, StartupCacheStatus) and status.queue_position:
        yield (), float(status.queue_position)


def _bytes(_kind: str, status: CommonStatus) -> Iterator[Sample]:
    if isinstance(status, StartupCacheStatus) and status.size_bytes is not None:
        yield (), float(status.size_bytes)


def _starts(_kind: str, status: CommonStatus) -> Iterator[Sample]:
    if isinstance(status, StartupCacheStatus) and status.proof:
        yield from _start("cold", status.proof.cold)
        if warm := [rank.warm for rank in status.proof.ranks]:
            yield from _start("warm", max(warm, key=_total))


def _start(name: str, start: StartStatus) -> Iterator[Sample]:
    for phase, seconds in start.phases.items():
        yield (name, phase), seconds
    yield (name, "total"), _total(start)


def _total(start: StartStatus) -> float:
    return start.total_seconds or 0.0


def _speedup(_kind: str, status: CommonStatus) -> Iterator[Sample]:
    """Yields status.speedup as a number."""
    words = status.speedup if isinstance(status, StartupCacheStatus) else None
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)x", words or ""):
        yield (), float(found[1])


def _layers(_kind: str, status: CommonStatus) -> Iterator[Sample]:
    if isinstance(status, StartupCacheStatus) and status.proof:
        for rank in status.proof.ranks:
            for layer in rank.layers:
                yield (str(rank.rank), layer.layer, layer.verdict), 1.0


def _conditions(kind: str, status: CommonStatus) -> Iterator[Sample]:
    for condition in status.conditions:
        yield (kind, condition.type, condition.status, condition.reason), 1.0


def _replicas(_kind: str, status: CommonStatus) -> Iterator[Sample]:
    if isinstance(status, InferenceDeploymentStatus):
        yield ("desired",), float(status.desired_replicas or 0)
        yield ("ready",), float(status.ready_replicas or 0)


def _reports(_kind: str, status: CommonStatus) -> Iterator[Sample]:
    if isinstance(status, InferenceDeploymentStatus) and status.init_reports:
        for counted in status.init_reports.counts:
            yield (counted.reason,), float(counted.count)


FAMILIES: dict[str, tuple[str, tuple[str, ...], Samples]] = {
    "tunecast_condition": (
        "1 for each condition of an object.", ("kind", "type", "status", "reason"), _conditions
    ),
    "tunecast_startup_cache_state": (
        "1 for the state of a StartupCache, or for Unwanted if nothing refers to it.", ("state",), _states
    ),
    "tunecast_startup_cache_queue_position": (
        "Position of a StartupCache that waits until fewer of them tune.", (), _queue_position
    ),
    "tunecast_startup_cache_bytes": ("Size of the bundle of a StartupCache.", (), _bytes),
    "tunecast_startup_cache_start_seconds": (
        "Seconds of the cold start and of the slowest warm start in the proof, by phase.",
        ("start", "phase"), _starts,
    ),
    "tunecast_startup_cache_speedup": (
        "Factor by which a start is faster with the bundle, without weights and downloads.", (), _speedup
    ),
    "tunecast_startup_cache_layer": (
        "1 for the verdict of each rank's proof on each layer.", ("rank", "layer", "verdict"), _layers
    ),
    "tunecast_inference_deployment_replicas": (
        "Number of serving pods that are desired and that are ready.", ("state",), _replicas
    ),
    "tunecast_inference_deployment_init_containers": (
        "Number of serving pods, by the reason that their init container reported.", ("reason",), _reports
    ),
}  # fmt: skip
