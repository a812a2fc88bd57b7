"""Names the hardware of a node. A bundle is made and installed on hardware of the same name.

A container without a GPU can still read ``/proc/driver/nvidia``, which lists the GPUs of the whole node. Therefore
ranks and init containers name their hardware by the same rule, and a bundle is identified by its key and this name.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
NAME_LIMIT = 63  # characters: a name is also a label's value
UNKNOWN = "unknown"  # the name of hardware that can't be identified
_NAME = re.compile(rf"[a-z0-9]([-a-z0-9]{{0,{NAME_LIMIT - 2}}}[a-z0-9])?")
_MODEL = re.compile(r"^Model:\s*(.+?)\s*$", re.MULTILINE)
_DRIVER = re.compile(r"Kernel Module[^\n]*?\s(\d+\.\d+(?:\.\d+)?)\s")
# Instruction sets that compilers use with -march=native, as /proc/cpuinfo names them. Other flags describe the kernel,
# the hypervisor or mitigations, and differ between nodes that can run the same code.
_INSTRUCTION_SETS = frozenset(
    [
        "sse4_1",
        "sse4_2",
        "sse4a",
        "avx",
        "avx2",
        "fma",
        "fma4",
        "f16c",
        "bmi1",
        "bmi2",
        "abm",
        "movbe",
        "popcnt",
        "aes",
        "pclmulqdq",
        "vaes",
        "vpclmulqdq",
        "gfni",
        "sha_ni",
        "adx",
        "xop",
        "tbm",
        "avx_vnni",
        "avx_vnni_int8",
        "avx_ifma",
        "avx_ne_convert",
        "avx10",
        "avx10_1",
        "avx10_2",
        "avx512f",
        "avx512dq",
        "avx512cd",
        "avx512bw",
        "avx512vl",
        "avx512ifma",
        "avx512vbmi",
        "avx512_vbmi2",
        "avx512_vnni",
        "avx512_bitalg",
        "avx512_vpopcntdq",
        "avx512_bf16",
        "avx512_fp16",
        "avx512_vp2intersect",
        "amx_tile",
        "amx_int8",
        "amx_bf16",
        "amx_fp16",
        "amx_complex",
        "asimd",
        "asimdhp",
        "asimddp",
        "asimdrdm",
        "asimdfhm",
        "sve",
        "sve2",
        "i8mm",
        "bf16",
        "svei8mm",
        "svebf16",
        "sme",
        "sme2",
        "atomics",
        "sha3",
        "sm4",
    ]
)
_LEVELS = (
    ("v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}),
    ("v2", {"sse4_1", "sse4_2", "popcnt"}),
)


@dataclass(frozen=True, slots=True)
class Hardware:
    """The hardware of a node.

    Attributes:
        name: such as ``nvidia-h100-80gb-hbm3-x86-64``, or ``unknown`` if the hardware can't be identified.
        product: product name of the GPU, as its driver reports it; empty for a CPU.
        driver: version of the GPU's driver; empty for a CPU.
        problem: reason why the hardware can't be identified, for a message; empty otherwise.
        hidden: whether the hardware can't be identified because the node shows no GPU at all.
    """

    name: str = UNKNOWN
    product: str = ""
    driver: str = ""
    problem: str = ""
    hidden: bool = False


def of_node(proc: Path = PROC, machine: str = "", *, wants_gpu: bool) -> Hardware:
    """Returns the hardware of this node.

    Args:
        proc: directory of procfs.
        machine: CPU architecture, as ``uname -m`` names it; this machine's by default.
        wants_gpu: whether the engine asks for an accelerator. If not, the hardware is the CPU.
    """
    machine = machine or platform.machine()
    if not wants_gpu:
        return Hardware(cpu_name(_read(proc / "cpuinfo"), machine))
    products = nvidia_products(proc)
    if not products:
        return Hardware(problem=f"{proc}/driver/nvidia names no GPU on this node", hidden=True)
    if len(products) > 1:
        return Hardware(problem=f"this node has GPUs of several products: {', '.join(products)}")
    return Hardware(gpu_name(products[0], machine), products[0], nvidia_driver(proc))


def proc_of(environment: Mapping[str, str]) -> Path:
    """Returns the directory of procfs. TUNECAST_PROC names another one if the container runtime hides ``/proc``."""
    return Path(environment.get("TUNECAST_PROC") or PROC)


def is_name(text: str) -> bool:
    """Whether ``text`` is a valid name of hardware, and so can be part of an object's name in the bucket."""
    return _NAME.fullmatch(text) is not None


def is_cpu(name: str) -> bool:
    """Whether ``name`` is the name of a CPU."""
    return name.startswith("cpu-")


def may_be_on(name: str, machine: str = "") -> bool:
    """Whether hardware of this name has a machine's CPU architecture: this machine's by default.

    A name that was shortened to NAME_LIMIT doesn't show its architecture.
    """
    return name.endswith(f"-{_named(machine or platform.machine())}")


def nvidia_products(proc: Path = PROC) -> list[str]:
    """Returns the distinct products of the node's NVIDIA GPUs, or an empty list if none can be read."""
    try:
        files = sorted((proc / "driver" / "nvidia" / "gpus").glob("*/information"))
    except OSError:
        return []
    return sorted({found[1] for path in files if (found := _MODEL.search(_read(path)))})


def nvidia_driver(proc: Path = PROC) -> str:
    """Returns the version of the node's NVIDIA driver, or an empty string if it can't be read."""
    found = _DRIVER.search(_read(proc / "driver" / "nvidia" / "version"))
    return found[1] if found else ""


def gpu_name(product: str, machine: str) -> str:
    """Names a GPU's product together with the CPU architecture that its host code is compiled for."""
    return _named(product if product.lower().startswith("nvidia") else f"nvidia {product}", machine)


def cpu_name(cpuinfo: str, machine: str) -> str:
    """Names a CPU by its architecture, its x86-64 level and a digest of its instruction sets."""
    sets = _instruction_sets(cpuinfo.splitlines())
    level = next((level for level, needed in _LEVELS if needed <= sets), "")
    digest = hashlib.sha256(" ".join(sorted(sets)).encode()).hexdigest()[:10]
    return _named("cpu", machine, *([level] if level else []), digest)


def _instruction_sets(lines: Iterable[str]) -> frozenset[str]:
    """Reads the instruction sets of the first processor. All processors of a node have the same."""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return _INSTRUCTION_SETS & frozenset(value.split())
    return frozenset()


def _named(*parts: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[: NAME_LIMIT - 11].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
