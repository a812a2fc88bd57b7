"""Prometheus metrics of the webhook."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from tunecast_operator.webhook.review import RESULTS

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3)


class WebhookMetrics:
    """Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reviews = Counter(
            "tunecast_webhook_reviews",
            "Admission reviews by result: Injected, Refused if the pod can't be adopted, Ignored if it doesn't ask for "
            "injection, or Failed if Tunecast has a bug.",
            ("result",),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tunecast_webhook_review_seconds",
            "Duration of a review, from the complete request to the answer.",
            buckets=SECONDS,
            registry=self.registry,
        )
        for result in RESULTS:
            self._reviews.labels(result)

    def answered(self, result: str, seconds: float) -> None:
        """Counts one answer."""
        self._reviews.labels(result).inc()
        self._seconds.observe(seconds)
