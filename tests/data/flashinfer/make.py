"""Writes these files with a FlashInfer wheel's own code, on a machine without a GPU: see README.md."""

from __future__ import annotations

import importlib
import logging
import sys
import types
from pathlib import Path
from typing import Any

import torch

FACTS = {
    "cuda_version": "13.0",
    "cublas_version": "13.0.2",
    "cudnn_version": "91500",
    "cudnn_frontend_version": "1.16.0",
    "cutlass_dsl_version": "4.3.0",
    "gpu": "NVIDIA H100 80GB HBM3",
}


def nothing(*_: Any, **__: Any) -> None:
    """Replaces every function that saving never calls."""


class Hollow(types.ModuleType):
    """Replaces a module whose import needs a GPU or a compiler, and which saving does not use."""

    __path__: list[str] = []  # noqa: RUF012 - what the import system looks at

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return nothing


def hollow(name: str, **members: Any) -> Hollow:
    module = Hollow(name)
    vars(module).update(members)
    sys.modules[name] = module
    return module


def autotuner(wheel: Path, version: str) -> Any:
    """Imports the wheel's own module, with the modules that need a GPU replaced."""
    vars(hollow("flashinfer"))["__path__"] = [str(wheel)]
    for name in ("tllm_utils", "utils", "jit"):
        hollow(f"flashinfer.{name}")
    hollow("flashinfer.version", __version__=version)
    hollow("flashinfer.jit.core", logger=logging.getLogger("flashinfer"))
    hollow("flashinfer.jit.cute_dsl_core", _get_cute_dsl_version=lambda: FACTS["cutlass_dsl_version"])
    module = importlib.import_module("flashinfer.autotuner")
    return sys.modules.get("flashinfer.autotuner.autotuner", module)


def entries() -> list[tuple[tuple[Any, ...], Any]]:
    """Returns keys as the operators of this version make them, with both kinds of tactics: one number, and several."""
    found = []
    for tokens in (1, 2, 4):
        shapes = ((1, tokens, 2048), (1, 2048, 5120), (0,))
        for runner, tactic in (("CublasFp8GemmRunner", tokens % 3), ("CutlassFp8GemmRunner", [128, tokens])):
            found.append((("fp8_gemm", runner, 0, shapes, (torch.bfloat16,)), tactic))
    return found


def main(wheel: Path, version: str, target: Path) -> None:
    module = autotuner(wheel, version)
    facts, names = {**FACTS, "flashinfer_version": version}, module._collect_metadata().keys()
    module._collect_metadata = lambda: {name: facts[name] for name in names}
    tuner = module.AutoTuner.get()
    for parts, tactic in entries():
        if hasattr(module, "ProfilingCacheKey"):  # 0.6.16 and later
            key = module.ProfilingCacheKey(*parts)
            tuner.profiling_cache[key] = (tactic, None)
            if hasattr(tuner, "_profiling_cache_policies"):  # 0.7.1 and later record how the tactic was measured
                tuner._profiling_cache_policies[None, key] = tuner._profiling_policy(module.TuningConfig())
        else:
            tuner.profiling_cache[parts] = (0, tactic, None)
    tuner.save_configs(str(target / f"{version}.json"))
    if version.startswith("0.7.2"):
        store(module, target / f"store-{version}")


def store(module: Any, root: Path) -> None:
    """Writes the managed store, which has one file per entry."""
    managed = importlib.import_module("flashinfer.autotune_cache")
    cache = managed.ManagedAutotuneCache(module._collect_metadata(), root=root)
    for parts, tactic in entries()[:2]:
        key = module.ProfilingCacheKey(*parts)
        cache.publish(key.file_key, key.runner_class_name, tactic, key.key_fields)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
