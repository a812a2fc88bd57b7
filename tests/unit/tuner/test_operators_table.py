"""The FlashInfer operators of a model, by shapes and number of ranks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunecast_tuner.flashinfer_ops.calls import CALLS
from tunecast_tuner.flashinfer_ops.model import ModelSizes, Serving
from tunecast_tuner.flashinfer_ops.table import OPERATORS, Problem, problems

DENSE = ModelSizes(4096, 32, 8, 128, 12288, 0, 1, 12288, 151936, latent_attention=False, weights="bf16")
MOE = replace(DENSE, intermediate=0, experts=128, experts_per_token=8, expert_intermediate=768)
CUTLASS = "flashinfer_cutlass"


def serving(tensor: int = 1, moe_backend: str = "auto") -> Serving:
    return Serving("m", None, tensor, 8192, moe_backend, "")


def sizes(found: tuple[Problem, ...]) -> dict[str, tuple[int, int]]:
    return {problem.name: (problem.sizes["n"], problem.sizes["k"]) for problem in found}


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (1, {"qkv": (6144, 4096), "o": (4096, 4096), "gate_up": (24576, 4096), "down": (4096, 12288)}),
        (2, {"qkv": (3072, 4096), "o": (4096, 2048), "gate_up": (12288, 4096), "down": (4096, 6144)}),
        (8, {"qkv": (768, 4096), "o": (4096, 512), "gate_up": (3072, 4096), "down": (4096, 1536)}),
    ],
)
def test_linear_layers_are_split_over_ranks(tensor: int, expected: dict[str, tuple[int, int]]) -> None:
    assert sizes(problems(DENSE, serving(tensor))) == expected


def test_kv_heads_are_replicated_where_there_are_more_ranks() -> None:
    few = replace(DENSE, kv_heads=4)
    assert sizes(problems(few, serving(8)))["qkv"] == (32 // 8 * 128 + 2 * 128, 4096)


def test_a_shape_comes_once() -> None:
    merged = problems(replace(DENSE, kv_heads=32, intermediate=4096), serving())
    assert [problem.name for problem in merged] == ["qkv", "o", "gate_up"]  # down is o's shape


@pytest.mark.parametrize(
    ("model", "moe_backend", "operators"),
    [
        (DENSE, "auto", {"mm_bf16"}),
        (replace(DENSE, weights="fp8"), "auto", {"bmm_fp8"}),
        (replace(DENSE, weights="fp4"), "auto", {"mm_fp4"}),
        (replace(DENSE, weights="fp8_block"), "auto", set()),
        (replace(DENSE, weights="other"), "auto", set()),
        (MOE, "auto", {"mm_bf16"}),
        (MOE, CUTLASS, {"mm_bf16", "cutlass_fused_moe"}),
        (replace(MOE, weights="fp8"), CUTLASS, {"bmm_fp8"}),
        (DENSE, CUTLASS, {"mm_bf16"}),
    ],
)
def test_which_operators_a_model_has(model: ModelSizes, moe_backend: str, operators: set[str]) -> None:
    assert {problem.operator for problem in problems(model, serving(1, moe_backend))} == operators


def test_experts_are_split_by_their_intermediate_size() -> None:
    [found] = [p for p in problems(MOE, serving(2, CUTLASS)) if p.operator == "cutlass_fused_moe"]
    assert found.sizes == {"experts": 128, "topk": 8, "hidden": 4096, "intermediate": 384}


def test_latent_attention_has_other_shapes_which_are_not_guessed() -> None:
    assert set(sizes(problems(replace(DENSE, latent_attention=True), serving()))) == {"gate_up", "down"}


def test_each_operator_can_be_called() -> None:
    assert {operator.name for operator in OPERATORS} == CALLS.keys()


def test_a_problem_is_described() -> None:
    assert str(Problem("bmm_fp8", "qkv", {"n": 2, "k": 1})) == "bmm_fp8 qkv (n=2, k=1)"
