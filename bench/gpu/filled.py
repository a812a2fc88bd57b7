"""Tries the tactics of the Operators workload in an engine that keeps none of its own: vLLM 0.26 on several GPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu.attempt import Attempt, install, to_object

if TYPE_CHECKING:
    from gpu.__main__ import Bench

KEY = "f" * 52
MOE = ("--moe-backend=flashinfer_cutlass",)  # the kind of MoE that FlashInfer tunes on Hopper
BARE = {"PYTHONPATH": ""}  # as in an image, the engine's packages are installed


def filled(bench: Bench) -> None:
    """Two ranks tune and replay; then a two-GPU engine starts from their bundle, without and with the tactics."""
    command = [image(bench.world.folder / "image"), *bench.command[1:], *MOE]
    per_rank = {rank: {**BARE, "CUDA_VISIBLE_DEVICES": str(rank)} for rank in range(2)}
    attempt = Attempt(bench.world, KEY, "filled", command, "Operators", per_rank=per_rank, python=command[0])
    try:
        attempt.start()
        attempt.wait(1000)
    finally:
        attempt.end()
        for rank in range(attempt.ranks):
            shutil.copy(attempt.folder / f"rank-{rank}" / "log", bench.log(f"filled-rank-{rank}"))
    result = attempt.staged()
    bench.world.keep("filled.json", to_object(result))
    bench.world.keep("filled-tactics.json", attempt.tactics())
    attempt.publish(result)
    _starts(bench, command, result.environment)


def _starts(bench: Bench, command: list[str], variables: dict[str, str]) -> None:
    """Starts the engine once to fill its caches, then repeats the start without and with the tactics."""
    mount = bench.world.folder / "filled-mount"
    install(bench.world, KEY, mount)
    changes: dict[str, Any] = {"mount": mount, "keep": True, "command": command, "environment": BARE}
    bench.row("filled-first", **changes, variables={}, no_throughput=True)
    for name, chosen in (("filled-without", {}), ("filled-with", variables)):
        found = bench.row(name, **changes, variables=chosen)
        print(name, found["start"], found["throughput"], autotuner(bench.log(name)), flush=True)


def image(directory: Path) -> str:
    """Makes a Python environment with the engine installed, so that the engine needs no PYTHONPATH."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", directory], check=True)
    [packages] = directory.glob("lib/python3*/site-packages")
    paths = [os.environ.get("BENCH_ENGINE_PATH", ""), sysconfig.get_path("purelib")]
    lines = [f"import site; site.addsitedir({path!r})" for path in paths if path]
    (packages / "image.pth").write_text("\n".join(lines) + "\n")
    return str(directory / "bin" / "python")


def autotuner(log: Path) -> list[str]:
    """Returns the lines of the engine's log that mention tactics."""
    words = ("Autotun", "tactics")
    lines: list[Any] = log.read_text(errors="replace").splitlines()
    return [line[-200:] for line in lines if any(word in line for word in words)]
