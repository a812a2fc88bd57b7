"""Writes a procfs like that of a node."""

from __future__ import annotations

from pathlib import Path

VERSION = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (dvs-builder@U22)  Tue\n"
    "GCC version:  gcc version 12.3.0\n"
)
SERVER = "fpu vme sse sse2 sse4_1 sse4_2 popcnt movbe avx f16c fma bmi1 bmi2 avx2"
AVX512 = f"{SERVER} avx512f avx512dq avx512cd avx512bw avx512vl"


def node(root: Path, *products: str, version: str = VERSION, flags: str = AVX512) -> Path:
    """Writes the procfs of a node with one GPU of each product."""
    for number, product in enumerate(products):
        folder = root / "driver" / "nvidia" / "gpus" / f"0000:{number:02x}:00.0"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "information").write_text(f"Model: \t\t {product}\nIRQ:   \t\t 152\nGPU UUID: \t GPU-0\n")
    if products:
        (root / "driver" / "nvidia" / "version").write_text(version)
    root.mkdir(exist_ok=True)
    (root / "cpuinfo").write_text(cpuinfo(flags))
    return root


def cpuinfo(flags: str, name: str = "flags") -> str:
    """Returns a cpuinfo of two processors; only the first is read."""
    return f"processor\t: 0\nmodel name\t: Some CPU\n{name}\t\t: {flags}\n\nprocessor\t: 1\n{name}\t\t: other\n"
