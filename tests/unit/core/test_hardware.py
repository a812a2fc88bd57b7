"""Hardware is named by the same rule for ranks and for init containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.proc import AVX512, SERVER, cpuinfo, node
from tunecast_core import hardware


def test_a_gpu_is_named_by_product_and_architecture(tmp_path: Path) -> None:
    found = hardware.of_node(node(tmp_path, "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"), "x86_64", wants_gpu=True)
    assert found == hardware.Hardware("nvidia-h100-80gb-hbm3-x86-64", "NVIDIA H100 80GB HBM3", "580.159.04")


@pytest.mark.parametrize(
    ("product", "machine", "name"),
    [
        ("NVIDIA GH200 480GB", "aarch64", "nvidia-gh200-480gb-aarch64"),
        ("Tesla T4", "x86_64", "nvidia-tesla-t4-x86-64"),
        (
            "NVIDIA RTX PRO 6000 Blackwell Server Edition",
            "x86_64",
            "nvidia-rtx-pro-6000-blackwell-server-edition-x86-64",
        ),
    ],
)
def test_names_of_products(product: str, machine: str, name: str) -> None:
    assert hardware.gpu_name(product, machine) == name


def test_a_long_product_stays_a_labels_value_and_its_own() -> None:
    one, other = (hardware.gpu_name("NVIDIA " + "Very " * 20 + end, "x86_64") for end in ("Large", "Small"))
    assert one != other
    assert max(len(one), len(other)) <= 63


def test_two_products_on_one_node_are_not_guessed_at(tmp_path: Path) -> None:
    found = hardware.of_node(node(tmp_path, "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"), "x86_64", wants_gpu=True)
    assert found.name == "unknown"
    assert "NVIDIA A100-SXM4-80GB, NVIDIA H100 80GB HBM3" in found.problem


def test_a_node_that_shows_no_gpu_is_no_cpu_where_the_engine_asks_for_one(tmp_path: Path) -> None:
    found = hardware.of_node(node(tmp_path), "x86_64", wants_gpu=True)
    assert (found.name, bool(found.problem)) == ("unknown", True)


def test_the_gpus_of_a_node_mean_nothing_to_an_engine_without_one(tmp_path: Path) -> None:
    found = hardware.of_node(node(tmp_path, "NVIDIA H100 80GB HBM3"), "x86_64", wants_gpu=False)
    assert found.name.startswith("cpu-x86-64-v4-")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (AVX512, f"{AVX512} md_clear hypervisor", True),  # a mitigation changes no compiled code
        (AVX512, " ".join(reversed(AVX512.split())), True),
        (AVX512, f"{AVX512} avx512_bf16", False),  # -march=native would use it, and crash elsewhere
        (SERVER, AVX512, False),
    ],
)
def test_a_cpu_is_named_by_what_compiled_code_needs(one: str, other: str, same: bool) -> None:
    names = {hardware.cpu_name(cpuinfo(flags), "x86_64") for flags in (one, other)}
    assert (len(names) == 1) is same


@pytest.mark.parametrize(
    ("text", "machine", "start"),
    [
        (cpuinfo(SERVER), "x86_64", "cpu-x86-64-v3-"),
        (cpuinfo("sse4_1 sse4_2 popcnt"), "x86_64", "cpu-x86-64-v2-"),
        (cpuinfo("fp asimd sve i8mm bf16", "Features"), "aarch64", "cpu-aarch64-"),
        ("", "riscv64", "cpu-riscv64-"),
    ],
)
def test_a_cpus_name_shows_its_architecture_and_level(text: str, machine: str, start: str) -> None:
    assert hardware.cpu_name(text, machine).startswith(start)


def test_a_closed_drivers_version_is_read_too(tmp_path: Path) -> None:
    closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
    assert hardware.nvidia_driver(node(tmp_path, "Tesla T4", version=closed)) == "535.183.01"


@pytest.mark.parametrize(
    ("name", "machine", "may_be"),
    [
        ("nvidia-h100-80gb-hbm3-x86-64", "x86_64", True),
        ("nvidia-h100-80gb-hbm3-x86-64", "aarch64", False),
        ("nvidia-gh200-480gb-aarch64", "x86_64", False),
        (hardware.gpu_name("NVIDIA " + "X" * 80, "x86_64"), "x86_64", False),
        ("unknown", "x86_64", False),
    ],
)
def test_a_gpus_name_shows_the_cpu_architecture(name: str, machine: str, may_be: bool) -> None:
    assert hardware.may_be_on(name, machine) is may_be
