"""The table of layers: the kinds of start-up state, their directories, and the files that they take or never take.

Patterns are ``fnmatch`` patterns over paths below the mount path; ``*`` also matches ``/``.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Variables that serving pods and ranks share, with the directory of each below the mount path.
ENVIRONMENT = {
    "VLLM_CACHE_ROOT": "vllm",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    "DG_JIT_CACHE_DIR": "deepgemm",
    "TILELANG_CACHE_DIR": "tilelang",
    "CUTE_DSL_CACHE_DIR": "cutedsl",
    "CUDA_CACHE_PATH": "cuda",
    "HUMMING_CACHE_DIR": "humming",
}
PYCACHE_VARIABLE = "PYTHONPYCACHEPREFIX"  # set only with the bytecode layer, since it hides the image's own bytecode
PYCACHE_DIRECTORY = "pycache"
PLUGIN_VARIABLE = "PYTHONPATH"  # set only with the layer FlashInferTactics, whose plugin Python finds by it
TACTICS_DIRECTORY = "tactics"
RESERVED_VARIABLES = frozenset({*ENVIRONMENT, PYCACHE_VARIABLE, "VLLM_FLASHINFER_AUTOTUNE_CACHE_DIR"})

# Facts of one node, secrets, locks and logs. No layer takes them, even if its patterns match.
NEVER = (
    "*/gpu_p2p_access_cache_*",
    "*/cache_key_factors.json",
    "*.lock",
    "*.log",
    "*.tmp",
    "*/assets/*",
    "*/media_cache/*",
)


# Kernels are built when they first run: during memory profiling, warm-up, graph capture, or a request.
KERNELS = ("profile", "jit", "graphs", "request")


@dataclass(frozen=True, slots=True)
class Layer:
    name: str
    takes: tuple[str, ...]
    rewritten: tuple[str, ...] = ()  # files that every start rewrites: compared by content, not by modification time
    restored: tuple[str, ...] = ()  # files that every start extracts from another one: only new ones are rebuilt
    miss_patterns: tuple[str, ...] = field(default=())  # regular expressions of log lines that report a miss
    shortens: tuple[str, ...] = KERNELS  # phases of a start that the layer can shorten


LAYERS = (
    Layer(
        "FlashInferAutotune",
        ("vllm/flashinfer_autotune_cache/*", "flashinfer/.cache/flashinfer/autotune/*"),
        rewritten=("*/autotune_configs*.json",),  # vLLM writes the file after each start, unchanged if all entries hit
        miss_patterns=(
            r"Cache file .* was created in a different environment \(.*?\)",
            r"\[Autotuner\]: Saved \d+ configs to .* \([1-9]\d* new.*",
        ),
        shortens=("tuning",),
    ),
    Layer(
        "FlashInferTactics",
        tuple(f"{TACTICS_DIRECTORY}/{name}" for name in ("*.json", "*.py", "*.dist-info/*")),
        shortens=("tuning",),
    ),
    Layer(
        "FlashInferJIT", ("flashinfer/.cache/flashinfer/*/cached_ops/*", "flashinfer/.cache/flashinfer/*/generated/*")
    ),
    Layer("FlashInferCubin", ("flashinfer/.cache/flashinfer/cubins/*", "flashinfer/.cache/flashinfer/*/cubins/*")),
    Layer(
        "TorchCompile",
        ("vllm/torch_compile_cache/*", "torchinductor/*"),
        rewritten=(
            "*/vllm_compile_cache.py",
            "*.best_config",
            "*/torch_aot_compile/*/inductor_cache/aotautograd/*",
            "*/torch_aot_compile/*/inductor_cache/fxgraph/*",
        ),
        # Loading an AOT artefact extracts these as of when it was saved; rank 0 may have measured again later.
        restored=("*/torch_aot_compile/*.best_config",),
        miss_patterns=(r"Compiling model again due to a load failure.*",),
        shortens=("compile",),
    ),
    Layer("VllmMeta", ("vllm/modelinfos/*", "vllm/startup_plan/*"), shortens=("inspect", "profile")),
    Layer("Triton", ("triton/*",), shortens=("compile", *KERNELS)),  # torch.compile writes Triton kernels, too
    Layer("DeepGEMM", ("deepgemm/*", "vllm/deep_gemm/*")),
    Layer("TileLang", ("tilelang/*",)),
    Layer("CuTeDSL", ("cutedsl/*",)),
    Layer("CUDA", ("cuda/*",)),
    Layer("Humming", ("humming/*",)),
    Layer("PythonBytecode", (f"{PYCACHE_DIRECTORY}/*.pyc",), shortens=("import", "inspect")),
)
BY_NAME = {layer.name: layer for layer in LAYERS}


def environment(mount_path: str) -> dict[str, str]:
    """Returns the variables that direct every layer to a directory below ``mount_path``."""
    return {variable: f"{mount_path}/{directory}" for variable, directory in ENVIRONMENT.items()}


def on_demand(mount_path: str) -> dict[str, str]:
    """Returns the variables that only some bundles need. Each is set only if the bundle has its layer."""
    directories = {PYCACHE_VARIABLE: PYCACHE_DIRECTORY, PLUGIN_VARIABLE: TACTICS_DIRECTORY}
    return {variable: f"{mount_path}/{directory}" for variable, directory in directories.items()}


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))


# Compiled once, because an init container matches thousands of paths.
_NEVER = _any_of(NEVER)
_TAKES = tuple((layer, _any_of(layer.takes)) for layer in LAYERS)
_REWRITTEN = {layer.name: _any_of(layer.rewritten) for layer in LAYERS if layer.rewritten}
_RESTORED = {layer.name: _any_of(layer.restored) for layer in LAYERS if layer.restored}


def layer_of(path: str, excluded: Iterable[str] = ()) -> Layer | None:
    """Returns the layer that takes the file at ``path`` (relative to the mount path, POSIX), or None."""
    if _NEVER.match(path):
        return None
    for layer, takes in _TAKES:
        if takes.match(path):
            return None if layer.name in set(excluded) else layer
    return None


def is_rewritten(path: str, layer: Layer) -> bool:
    """Whether engines rewrite the file at ``path`` at every start, so that only a changed content is a rebuild."""
    return _matches(_REWRITTEN, path, layer)


def is_restored(path: str, layer: Layer) -> bool:
    """Whether engines extract the file at ``path`` from another file, so that only a new file is a rebuild."""
    return _matches(_RESTORED, path, layer)


def _matches(patterns: Mapping[str, re.Pattern[str]], path: str, layer: Layer) -> bool:
    pattern = patterns.get(layer.name)
    return pattern is not None and pattern.match(path) is not None
