"""Acts like FlashInfer on a machine without a GPU, as far as the tuner uses it.

FLASHINFER_STANDIN selects the behaviour: ``lacking`` (no operator runs), ``rank`` (tactics that depend on the process),
``slow`` (tuning takes a minute), ``crash`` (tuning ends the process), ``silent`` (the same, with status 0), ``altered``
(a loaded tactic comes back as another one). FLASHINFER_STANDIN_GPU and FLASHINFER_STANDIN_VERSION are the GPU and
the version that it reports.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from flashinfer.autotuner import AutoTuner, autotune

__version__ = "0.6.14"
__all__ = ["autotune", "bmm_fp8", "mm_bf16", "mm_fp4"]
MODES = frozenset(os.environ.get("FLASHINFER_STANDIN", "").split(","))


class Runner:
    """One implementation of an operator."""


def bmm_fp8(a: Any, b: Any, *_: Any) -> Any:
    return _run("fp8_gemm", a, b)


def mm_bf16(a: Any, b: Any, **_: Any) -> Any:
    return _run("bf16_gemm", a, b)


def mm_fp4(*_: Any, **__: Any) -> Any:
    raise ValueError("mm_fp4 does not support backend 'auto' with capability 90")


def _run(name: str, a: Any, b: Any) -> None:
    if "lacking" in MODES:
        raise ValueError(f"{name} does not support this GPU")
    _build(name)
    tuner = AutoTuner.get()
    if tuner.is_tuning_mode:
        _misbehave()
    tuner.choose_one(name, [Runner()], None, [a, b])


def _misbehave() -> None:
    if "slow" in MODES:
        print("tuning takes a minute", flush=True)
        time.sleep(60)
    if "crash" in MODES:
        os.abort()
    if "silent" in MODES:
        os._exit(0)


def _build(name: str) -> None:
    """Writes files like those of FlashInfer's just-in-time build."""
    base = Path(os.environ["FLASHINFER_WORKSPACE_BASE"], ".cache/flashinfer/0.6.14/90a/cached_ops", name)
    if not (base / f"{name}.so").exists():
        base.mkdir(parents=True, exist_ok=True)
        time.sleep(1.0)
        (base / f"{name}.so").write_bytes(b"built")
