"""An init container installs only a bundle that was made on hardware like its node's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from support.proc import node
from support.published import bucket
from support.replica import FILES, Pod, cold
from support.s3 import S3

pytestmark = pytest.mark.integration
H100, L4 = "nvidia-h100-80gb-hbm3-x86-64", "nvidia-l4-x86-64"


@pytest.fixture
def pod(s3_credentials: S3, tmp_path: Path, request: pytest.FixtureRequest) -> Pod:
    return Pod(tmp_path, bucket(s3_credentials, request.node.name))


def publish(pod: Pod, hardware: str) -> dict[str, bytes]:
    """Publishes a bundle for each hardware, all with the same key."""
    files = {path: data + hardware.encode() for path, data in FILES.items()}
    (pod.folder / hardware).mkdir()
    other = replace(pod, bucket=replace(pod.bucket, hardware=hardware))
    other.bucket.publish(files, pod.folder / hardware)
    return files


def on(folder: Path, *products: str) -> dict[str, str]:
    """Returns the variables of a pod that requests a GPU, on a node with these products."""
    return {"TUNECAST_WANTS_GPU": "true", "TUNECAST_PROC": str(node(folder / "proc", *products))}


@pytest.mark.parametrize(("product", "hardware"), [("NVIDIA H100 80GB HBM3", H100), ("NVIDIA L4", L4)])
def test_each_node_installs_the_bundle_of_its_own_gpu(pod: Pod, product: str, hardware: str) -> None:
    files = {name: publish(pod, name) for name in (H100, L4)}
    ended = pod.run(on(pod.folder, product))
    assert (ended.report.result, ended.report.hardware) == ("Hit", hardware), ended.out
    assert ended.report.bundle_hardware == hardware
    assert "made on" not in ended.report.message
    assert ended.files == files[hardware]


def test_a_third_gpu_starts_cold_and_is_reported(pod: Pod) -> None:
    publish(pod, H100)
    ended = pod.run(on(pod.folder, "NVIDIA A100-SXM4-80GB"))
    cold(ended, "NoBundleForThisGPU")
    assert H100 in ended.report.message
    assert ended.report.hardware == "nvidia-a100-sxm4-80gb-x86-64"


def test_a_node_with_two_products_goes_by_what_the_pod_selects(pod: Pod) -> None:
    files = publish(pod, L4)
    mixed = on(pod.folder, "NVIDIA H100 80GB HBM3", "NVIDIA L4")
    ended = pod.run({**mixed, "TUNECAST_GPU_PRODUCT": "NVIDIA-L4"})
    assert ended.files == files, ended.out
    cold(pod.run(mixed), "NoBundleForThisGPU")


def test_a_node_that_hides_its_gpu_installs_the_only_bundle(pod: Pod) -> None:
    files, hidden = publish(pod, H100), on(pod.folder)
    installed = pod.run(hidden)
    assert installed.files == files
    assert (installed.report.hardware, installed.report.bundle_hardware) == ("unknown", H100)
    assert f"they were made on {H100}, and {pod.folder}/proc/driver/nvidia names no GPU" in installed.report.message
    publish(pod, L4)
    ended = pod.run(hidden)
    cold(ended, "NoBundleForThisGPU")
    assert "names no GPU on this node" in ended.report.message


def test_a_node_that_hides_its_gpu_installs_no_bundle_of_another_cpu_architecture(pod: Pod) -> None:
    publish(pod, "nvidia-gh200-480gb-aarch64")
    hidden = on(pod.folder)
    cold(pod.run(hidden), "NoBundleForThisGPU")
    files = publish(pod, H100)
    assert pod.run(hidden).files == files


def test_a_bundle_that_was_copied_to_other_hardwares_name_is_refused(pod: Pod) -> None:
    publish(pod, H100)
    moved = replace(pod.bucket, hardware=L4)
    moved.put_manifest((), hardware=H100)
    cold(pod.run(on(pod.folder, "NVIDIA L4")), "WrongKey")
