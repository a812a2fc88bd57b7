"""Calls each operator of the table in the same way as vLLM. Runs only in the engine's interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Run = Callable[[], Any]  # runs the operator once
Call = Callable[[int], Run]  # makes the inputs for a number of tokens

FP4_BLOCK = 16  # number of values that share a scale
FP4_ROWS = 128  # number of rows of scales that are interleaved


def device(torch: Any) -> str:
    """Returns the device for inputs. Without a GPU, operators raise errors themselves."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def mm_bf16(torch: Any, flashinfer: Any, sizes: Mapping[str, int]) -> Call:
    """Multiplies (tokens, k) by (k, n) with a column-major weight."""
    n, k = sizes["n"], sizes["k"]
    weight = torch.randn((n, k), dtype=torch.bfloat16, device=device(torch)).t()

    def call(tokens: int) -> Run:
        inputs = torch.randn((tokens, k), dtype=torch.bfloat16, device=device(torch))
        return lambda: flashinfer.mm_bf16(inputs, weight, backend="auto")

    return call


def bmm_fp8(torch: Any, flashinfer: Any, sizes: Mapping[str, int]) -> Call:
    """Multiplies (1, tokens, k) by (1, k, n) with a column-major weight and one scale for each tensor."""
    n, k = sizes["n"], sizes["k"]
    scale = torch.ones((), dtype=torch.float32, device=device(torch))

    def fp8(*shape: int) -> Any:
        return torch.randn(shape, dtype=torch.bfloat16, device=device(torch)).to(torch.float8_e4m3fn)

    weight = fp8(n, k).t().unsqueeze(0)

    def call(tokens: int) -> Run:
        inputs = fp8(1, tokens, k)
        return lambda: flashinfer.bmm_fp8(inputs, weight, scale, scale, torch.bfloat16, None, "auto")

    return call


def mm_fp4(torch: Any, flashinfer: Any, sizes: Mapping[str, int]) -> Call:
    """Multiplies (tokens, k) by (k, n) in NVFP4, which packs two values into a byte, with a scale for 16 values."""
    n, k = sizes["n"], sizes["k"]
    alpha = torch.ones((), dtype=torch.float32, device=device(torch))

    def fp4(rows: int) -> tuple[Any, Any]:
        padded = -(-rows // FP4_ROWS) * FP4_ROWS
        values = torch.randint(0, 256, (rows, k // 2), dtype=torch.uint8, device=device(torch))
        scales = torch.ones((padded, k // FP4_BLOCK), device=device(torch)).to(torch.float8_e4m3fn)
        return values, scales

    weight, weight_scales = fp4(n)

    def call(tokens: int) -> Run:
        inputs, scales = fp4(tokens)
        weights = (weight.t(), scales, weight_scales.t())
        return lambda: flashinfer.mm_fp4(inputs, *weights, alpha, torch.bfloat16, backend="auto")

    return call


def cutlass_fused_moe(torch: Any, flashinfer: Any, sizes: Mapping[str, int]) -> Call:
    """Runs all experts of a layer in bf16: a combined weight for gate and up, and a weight for down."""
    experts, topk, hidden = sizes["experts"], sizes["topk"], sizes["hidden"]

    def bf16(*shape: int) -> Any:
        return torch.randn(shape, dtype=torch.bfloat16, device=device(torch))

    up, down = bf16(experts, 2 * sizes["intermediate"], hidden), bf16(experts, hidden, sizes["intermediate"])

    def call(tokens: int) -> Run:
        chosen = torch.stack([torch.randperm(experts, device=device(torch))[:topk] for _ in range(min(tokens, 64))])
        chosen = chosen.repeat(-(-tokens // len(chosen)), 1)[:tokens].to(torch.int32)
        weights = torch.full((tokens, topk), 1.0 / topk, dtype=torch.float32, device=device(torch))
        inputs = bf16(tokens, hidden)
        return lambda: flashinfer.fused_moe.cutlass_fused_moe(
            inputs, chosen, weights, up, down, torch.bfloat16, quant_scales=[]
        )

    return call


CALLS: Mapping[str, Callable[[Any, Any, Mapping[str, int]], Call]] = {
    "mm_bf16": mm_bf16,
    "bmm_fp8": bmm_fp8,
    "mm_fp4": mm_fp4,
    "cutlass_fused_moe": cutlass_fused_moe,
}
