"""Finds replicas whose image, GPU or driver differs from what their bundle was made with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tunecast_operator.api.status import DriftProperty, MadeWith
from tunecast_operator.conditions import Reason
from tunecast_operator.pods import Pod, engine, init_report, node
from tunecast_operator.resources.pod import GPU_PRODUCT_LABEL, SHARED

DRIVER_LABEL = "nvidia.com/cuda.driver-version.full"
OLD_DRIVER_LABELS = tuple(f"nvidia.com/cuda.driver.{part}" for part in ("major", "minor", "rev"))
Labels = Mapping[str, str]
_REASONS = {
    DriftProperty.IMAGE: Reason.IMAGE_DIFFERS,
    DriftProperty.GPU: Reason.GPU_DIFFERS,
    DriftProperty.DRIVER: Reason.DRIVER_DIFFERS,
}


@dataclass(frozen=True, slots=True)
class Drift:
    """A number of replicas that run ``found``, although their bundle was made with ``expected``."""

    what: DriftProperty
    expected: str
    found: str
    replicas: int

    @property
    def reason(self) -> Reason:
        return _REASONS[self.what]

    def __str__(self) -> str:
        return f"{self.replicas} replica(s): {self.what} is {self.found}, but the bundle was made with {self.expected}"


def drift(made_with: Mapping[str, MadeWith], pods: Iterable[Pod], nodes: Mapping[str, Labels]) -> list[Drift]:
    """Returns the differences, the most important first. Unknown properties are not compared.

    Args:
        made_with: ``status.madeWith`` of StartupCaches that are Ready, by hardware. The first one is for pods
            that have not reported their hardware yet.
        pods: serving pods of the key.
        nodes: labels by node, as GPU feature discovery sets them.
    """
    compared = ((_bundle_of(pod, made_with), pod) for pod in pods)
    found = Counter(difference for made, pod in compared for difference in _differences(made, pod, nodes))
    return [Drift(what, expected, other, count) for (what, expected, other), count in sorted(found.items(), key=_rank)]


def _bundle_of(pod: Pod, made_with: Mapping[str, MadeWith]) -> MadeWith:
    report = init_report(pod)
    made_on = (report.bundle_hardware or report.hardware) if report else ""
    return made_with.get(made_on, MadeWith()) if made_on else next(iter(made_with.values()), MadeWith())


def _rank(item: tuple[tuple[DriftProperty, str, str], int]) -> tuple[int, str]:
    (what, _, found), _ = item
    return list(DriftProperty).index(what), found


def _differences(made: MadeWith, pod: Pod, nodes: Mapping[str, Labels]) -> Iterator[tuple[DriftProperty, str, str]]:
    labels = nodes.get(node(pod), {})
    image, expected_image = engine(pod).image_id, made.image_id or ""
    if _comparable(image, expected_image) and _digest(image) != _digest(expected_image):
        yield DriftProperty.IMAGE, _digest(expected_image), _digest(image)
    gpu, expected_gpu = labels.get(GPU_PRODUCT_LABEL, ""), (made.gpu or "").replace(" ", "-")
    if gpu and expected_gpu and SHARED.sub("", gpu) != SHARED.sub("", expected_gpu):
        yield DriftProperty.GPU, expected_gpu, gpu
    driver, expected_driver = _driver(labels), made.driver or ""
    if driver and expected_driver and driver != expected_driver:
        yield DriftProperty.DRIVER, expected_driver, driver


def _comparable(one: str, other: str) -> bool:
    """Whether both digests come from a registry, or neither: a node computes another one for an imported image."""
    return bool(one and other) and ("@" in one) == ("@" in other)


def _digest(image: str) -> str:
    return image.rpartition("@")[2]


def _driver(labels: Labels) -> str:
    old = [labels[name] for name in OLD_DRIVER_LABELS if labels.get(name)]
    return labels.get(DRIVER_LABEL) or ".".join(old)
