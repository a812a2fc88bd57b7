"""What an on-call engineer needs to know, as Prometheus metrics: counted as it happens, or read from every status."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tunecast_core.bundle.layers import BY_NAME
from tunecast_core.errors import StoreError, TunecastError
from tunecast_core.records import job
from tunecast_core.records import report as init_report
from tunecast_core.records.report import InitReport
from tunecast_operator import times
from tunecast_operator.api.proof_status import StartStatus
from tunecast_operator.api.status import CommonStatus, InferenceDeploymentStatus, StartupCacheStatus
from tunecast_operator.conditions import Transition
from tunecast_operator.plan import outcome
from tunecast_operator.runtime.listening import any_address

RECONCILE_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60)
INIT_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60)
INIT_PHASES = {"start", "clear", "manifest", "fetch", "unpack", "total"}
RESULTS = ("Success", "Conflict", "Failure", "Bug")
ENDS = {"Ready": "Published", "Ineffective": "Ineffective"}  # states that an attempt ends in, as its result
Key = tuple[str, str, str]  # kind, namespace, name


class Metrics:
    """Thread-safe. What ended before ``since`` isn't counted: an operator that starts sees all of it again."""

    def __init__(self, since: datetime) -> None:
        self.registry = CollectorRegistry()
        self._since = since
        self._objects = Objects()
        self._inits: dict[tuple[str, str], frozenset[str]] = {}
        self.registry.register(self._objects)
        self._queue = Gauge(
            "tunecast_queue_length", "Objects that wait to be reconciled or are.", registry=self.registry
        )
        self._reconciles = self._counter("tunecast_reconciles", "Reconciliations by how they ended.", "kind", "result")
        self._reconcile_seconds = self._histogram(
            "tunecast_reconcile_seconds", "How long they took.", RECONCILE_SECONDS, "kind"
        )
        self._transitions = self._counter(
            "tunecast_transitions",
            "Conditions that took another status or reason; each that its user should know of is an Event too.",
            "kind", "type", "status", "reason",
        )  # fmt: skip
        self._attempts = self._counter(
            "tunecast_tuning_attempts", "Attempts that ended: Published, Ineffective, or why they failed.", "result"
        )
        self._store_errors = self._counter(
            "tunecast_store_errors", "Steps of the operator that S3 failed, by reason.", "reason"
        )
        self._init_containers = self._counter(
            "tunecast_init_containers", "Init containers that ended, by what they said.", "result", "reason"
        )
        self._init_layers = self._counter("tunecast_init_layers", "Layers that they put in place.", "layer")
        self._init_bytes = self._counter("tunecast_init_bytes", "Bytes that they fetched.")
        self._init_seconds = self._histogram(
            "tunecast_init_seconds", "What they spent their time on; total is all of it.", INIT_SECONDS, "phase"
        )

        self._begin()

    def _begin(self) -> None:
        """Zeros: Prometheus sees a counter's first one only where there was a zero before it."""
        for kind in ("StartupCache", "InferenceDeployment"):
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
        """``result``: Success, Conflict, Failure or Bug."""
        self._reconciles.labels(kind, result).inc()
        self._reconcile_seconds.labels(kind).observe(seconds)

    def store_failed(self, reason: str) -> None:
        self._store_errors.labels(reason).inc()

    def transitioned(self, kind: str, transitions: Iterable[Transition]) -> None:
        for condition in (transition.condition for transition in transitions):
            self._transitions.labels(kind, condition.type, condition.status, condition.reason).inc()

    def has(self, key: Key, before: CommonStatus, status: CommonStatus) -> None:
        """An object's status as it was read, and as it is now."""
        self._objects.put(key, status)
        if result := ended(before, status):
            self._attempts.labels(known(result, RESULTS_OF_ATTEMPTS)).inc()

    def lacks(self, key: Key) -> None:
        """An object is gone."""
        self._objects.drop(key)
        self._inits.pop(key[1:], None)

    def inits(self, namespace: str, name: str, reports: Mapping[str, tuple[str, InitReport]]) -> None:
        """What serving pods' init containers said: by container and run, with the time of its end."""
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
    """Pods and ranks are their tenants': no word of theirs becomes a label that stays."""
    return word if word in words else OTHER


def _reasons(module: object) -> set[str]:
    words = (value for name, value in vars(module).items() if name.isupper() and isinstance(value, str))
    return {word for word in words if re.fullmatch("[A-Z][A-Za-z]+", word)}


def _reasons_of_errors(kind: type[TunecastError]) -> set[str]:
    return {kind.reason}.union(*(_reasons_of_errors(other) for other in kind.__subclasses__()))


OTHER, UNWANTED = "Other", "Unwanted"
RESULTS_OF_ATTEMPTS = {*ENDS.values(), *_reasons(job), *_reasons(outcome), *_reasons_of_errors(TunecastError)}
REASONS_OF_REPORTS = {*_reasons(init_report), *_reasons_of_errors(TunecastError), job.BAD_SETTINGS}


def ended(before: CommonStatus, after: CommonStatus) -> str:
    """How an attempt ended between two statuses of a StartupCache; empty where none did."""
    if not isinstance(before, StartupCacheStatus) or not isinstance(after, StartupCacheStatus):
        return ""
    if after.last_failure and after.last_failure != before.last_failure:
        return after.last_failure.reason
    return ENDS.get(after.state or "", "") if after.state != before.state else ""


class Objects(Collector):
    """Gauges of all objects, from the statuses that were read or written last."""

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
        yield (status.state if status.referred_by else UNWANTED,), 1.0


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
    """What status.speedup says in words."""
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
        "1 for each condition that an object has now.", ("kind", "type", "status", "reason"), _conditions
    ),
    "tunecast_startup_cache_state": (
        "1 for the state that a StartupCache is in, or Unwanted where nothing refers to it.", ("state",), _states
    ),
    "tunecast_startup_cache_bytes": ("Size of its bundle.", (), _bytes),
    "tunecast_startup_cache_start_seconds": (
        "The starts that its proof measured, by phase: rank 0's cold one, and the slowest warm one.",
        ("start", "phase"), _starts,
    ),
    "tunecast_startup_cache_speedup": (
        "How many times faster a start is with its bundle, without weights and downloads.", (), _speedup
    ),
    "tunecast_startup_cache_layer": (
        "1 for what each rank's proof said of each layer.", ("rank", "layer", "verdict"), _layers
    ),
    "tunecast_inference_deployment_replicas": ("Serving pods, desired and ready.", ("state",), _replicas),
    "tunecast_inference_deployment_init_containers": (
        "Serving pods that there are, by what their init container said.", ("reason",), _reports
    ),
}  # fmt: skip


def serve(metrics: Metrics, port: int) -> Callable[[], None]:
    """Answers at /metrics until what is returned is called."""
    server, thread = start_http_server(port, any_address(), registry=metrics.registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
