"""Sorting of files into layers."""

from __future__ import annotations

import pytest

from tunecast_core.bundle.layers import BY_NAME, NEVER, environment, is_restored, is_rewritten, layer_of


@pytest.mark.parametrize(
    ("path", "layer"),
    [
        ("vllm/flashinfer_autotune_cache/0.6.14/90/h/autotune_configs.json", "FlashInferAutotune"),
        ("flashinfer/.cache/flashinfer/0.6.14/90a/cached_ops/sampling/sampling.so", "FlashInferJIT"),
        ("flashinfer/.cache/flashinfer/0.6.14/90a/cached_ops/sampling/.ninja_deps", "FlashInferJIT"),
        ("flashinfer/.cache/flashinfer/0.6.14/90a/cached_ops/.ninja_log", "FlashInferJIT"),
        ("vllm/torch_compile_cache/h/rank_0_0/backbone/vllm_compile_cache.py", "TorchCompile"),
        ("torchinductor/aa/x.py", "TorchCompile"),
        ("vllm/modelinfos/m.json", "VllmMeta"),
        ("vllm/flashinfer_autotune_cache/0.7.1/90a/h/autotune_configs_dp0_rank1.json", "FlashInferAutotune"),
        ("vllm/flashinfer_autotune_cache/0.6.14/90a/h/.autotuner_x.tmp", None),
        ("humming/gemm/kernel.so", "Humming"),
        ("humming/gemm/kernel.lock", None),
        ("triton/K/kernel.cubin", "Triton"),
        ("pycache/usr/lib/m.cpython-312.pyc", "PythonBytecode"),
        ("pycache/usr/lib/m.cpython-312.pyc.140", None),
        ("vllm/gpu_p2p_access_cache_for_0,1.json", None),
        ("vllm/torch_compile_cache/h/cache_key_factors.json", None),
        ("flashinfer/.cache/flashinfer/0.6.14/90a/cached_ops/sampling/sampling.lock", None),
        ("flashinfer/.cache/flashinfer/flashinfer_jit.log", None),
        ("vllm/assets/model.bin", None),
        ("elsewhere", None),
        ("", None),
    ],
)
def test_the_layer_of_a_path(path: str, layer: str | None) -> None:
    found = layer_of(path)
    assert (found.name if found else None) == layer


def test_excluded_layers_match_no_file() -> None:
    assert layer_of("triton/a", ["CUDA"]) is BY_NAME["Triton"]
    assert layer_of("triton/a", ["Triton"]) is None


@pytest.mark.parametrize("pattern", NEVER)
def test_no_layer_matches_files_that_must_not_be_published(pattern: str) -> None:
    assert layer_of("triton/" + pattern.replace("*", "x")) is None


def test_only_patterns_of_the_layer_are_rewritten() -> None:
    assert is_rewritten("vllm/torch_compile_cache/h/vllm_compile_cache.py", BY_NAME["TorchCompile"])
    assert is_rewritten("torchinductor/3m/8.best_config", BY_NAME["TorchCompile"])
    assert is_rewritten(
        "vllm/torch_compile_cache/torch_aot_compile/h/inductor_cache/fxgraph/a/b/c", BY_NAME["TorchCompile"]
    )
    assert not is_rewritten("vllm/torch_compile_cache/h/rank_0_0/fxgraph/a/b/c", BY_NAME["TorchCompile"])
    assert not is_rewritten("vllm/torch_compile_cache/h/other.py", BY_NAME["TorchCompile"])
    assert not is_rewritten("triton/vllm_compile_cache.py", BY_NAME["Triton"])
    assert not is_rewritten("vllm/flashinfer_autotune_cache/h/other.json", BY_NAME["FlashInferAutotune"])


def test_only_what_an_aot_artefact_holds_is_restored() -> None:
    layer = BY_NAME["TorchCompile"]
    assert is_restored("vllm/torch_compile_cache/torch_aot_compile/h/inductor_cache/3m/8.best_config", layer)
    assert not is_restored("vllm/torch_compile_cache/torch_aot_compile/h/rank_0_0/model", layer)
    assert not is_restored("torchinductor/3m/8.best_config", layer)


def test_every_variable_is_below_the_mount_path() -> None:
    assert environment("/m")["TRITON_CACHE_DIR"] == "/m/triton"
    assert environment("/m")["HUMMING_CACHE_DIR"] == "/m/humming"
