"""Replicas whose image or hardware differs from that of their bundle."""

from __future__ import annotations

from typing import Any

import pytest

from tunecast_core.records.codec import canonical
from tunecast_core.records.report import InitReport
from tunecast_operator.api.status import DriftProperty, MadeWith
from tunecast_operator.plan.drift import Drift, drift

SHA, OTHER = f"docker.io/vllm@sha256:{'a' * 64}", f"mirror/vllm@sha256:{'b' * 64}"
MADE = MadeWith.model_validate({"imageID": SHA, "gpu": "NVIDIA H100 80GB HBM3", "driver": "580.159.04"})
SAME = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/cuda.driver-version.full": "580.159.04"}
OLD = {"nvidia.com/cuda.driver.major": "580", "nvidia.com/cuda.driver.minor": "159", "nvidia.com/cuda.driver.rev": "04"}


def pod(image: str = SHA, node: str = "n") -> dict[str, Any]:
    metadata = {"annotations": {"tunecast.io/container": "engine"}}
    return {
        "metadata": metadata,
        "spec": {"nodeName": node},
        "status": {"containerStatuses": [{"name": "engine", "imageID": image}]},
    }


@pytest.mark.parametrize(
    ("made", "pods", "labels", "found"),
    [
        (MADE, [pod()], SAME, []),
        (MADE, [pod(f"mirror/vllm@sha256:{'a' * 64}")], SAME, []),  # the same image from elsewhere
        (MADE, [pod(OTHER), pod(OTHER), pod()], SAME, [("Image", f"sha256:{'b' * 64}", 2)]),
        (MADE, [pod(f"sha256:{'c' * 64}")], SAME, []),  # an imported image has no registry digest to compare
        (MADE, [pod("")], SAME, []),
        (MadeWith(), [pod(OTHER)], SAME, []),
        (MADE, [pod()], {}, []),
        (MADE, [pod()], {**SAME, "nvidia.com/gpu.product": "NVIDIA-H200"}, [("GPU", "NVIDIA-H200", 1)]),
        (MADE, [pod()], {**SAME, "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-SHARED"}, []),
        (MADE, [pod()], {**SAME, "nvidia.com/cuda.driver-version.full": "590.1"}, [("Driver", "590.1", 1)]),
        (MADE, [pod()], OLD, []),
        (MADE, [pod()], {**OLD, "nvidia.com/cuda.driver.rev": "05"}, [("Driver", "580.159.05", 1)]),
        (
            MADE,
            [pod(OTHER, "elsewhere")],
            SAME,
            [("Image", f"sha256:{'b' * 64}", 1)],
        ),  # the hardware of its node is unknown
    ],
)
def test_what_differs(made: Any, pods: list[Any], labels: dict[str, str], found: list[tuple[str, str, int]]) -> None:
    seen = drift({"": made}, pods, {"n": labels})
    assert [(one.what, one.found, one.replicas) for one in seen] == found


def test_the_most_important_comes_first_and_each_names_both_sides() -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-H200", "nvidia.com/cuda.driver-version.full": "590.1"}
    seen = drift({"": MADE}, [pod(OTHER)], {"n": labels})
    assert [one.reason for one in seen] == ["ImageDiffers", "GpuDiffers", "DriverDiffers"]
    words = "3 replica(s): GPU is NVIDIA-H200, but the bundle was made with NVIDIA-H100"
    assert str(Drift(DriftProperty.GPU, "NVIDIA-H100", "NVIDIA-H200", 3)) == words


def on(hardware: str, image: str = SHA, bundle: str = "") -> dict[str, Any]:
    """Returns a pod whose init container reported its hardware, and that of its bundle."""
    report = InitReport("Hit", "Installed", "", "key", hardware=hardware, bundle_hardware=bundle)
    message = canonical(report).decode()
    ended = {"terminated": {"message": message, "finishedAt": "2026-01-01T10:00:00Z"}}
    found = pod(image)
    found["status"]["initContainerStatuses"] = [{"name": "tunecast-init", "state": ended}]
    return {**found, "metadata": {**found["metadata"], "name": hardware}}


def test_each_replica_is_compared_with_the_bundle_of_its_own_hardware() -> None:
    made = {"h100": MADE, "l4": MadeWith.model_validate({"imageID": OTHER, "gpu": "NVIDIA L4"})}
    labels = {"n": {"nvidia.com/gpu.product": "NVIDIA-L4"}}
    assert drift(made, [on("l4", OTHER)], labels) == []
    assert [one.what for one in drift(made, [on("h100", OTHER)], labels)] == ["Image", "GPU"]
    assert drift(made, [on("a100", "")], labels) == [], "it has no bundle"


def test_a_replica_whose_hardware_is_unknown_is_compared_with_the_bundle_that_it_installed() -> None:
    made = {"h100": MADE, "l4": MadeWith.model_validate({"imageID": SHA, "gpu": "NVIDIA L4"})}
    labels = {"n": {"nvidia.com/gpu.product": "NVIDIA-L4"}}
    found = drift(made, [on("unknown", bundle="h100")], labels)
    assert [(one.what, one.expected, one.found) for one in found] == [("GPU", "NVIDIA-H100-80GB-HBM3", "NVIDIA-L4")]
    assert drift(made, [on("unknown", bundle="l4")], labels) == []
    assert drift(made, [on("unknown")], labels) == [], "it started cold"
