"""The gauge of adopted pods by their states, which is computed when it is scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tunecast_operator.plan.adopted_states import AdoptedState

NAME, LABELS = "tunecast_adopted_pods", ("namespace", "state")


class AdoptedGauge(Collector):
    """Has a sample for each state of each namespace that ``read`` returns, with 0 for those without pods."""

    def __init__(self, read: Callable[[], Mapping[str, Mapping[AdoptedState, int]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(NAME, "Number of adopted pods, by how they started or why not.", labels=LABELS)
        for namespace, counts in sorted(self._read().items()):
            for state in AdoptedState:
                family.add_metric((namespace, state), counts.get(state, 0))
        yield family
