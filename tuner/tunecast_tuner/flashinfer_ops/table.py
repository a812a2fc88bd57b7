"""The table of operators that FlashInfer tunes: for which models, and at which shapes engines call them. Pure.

To add one: a row here, and how to call it in ``calls``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tunecast_tuner.flashinfer_ops.model import ModelSizes, Serving


@dataclass(frozen=True, slots=True)
class Problem:
    """One operator at one shape; the number of tokens is what varies."""

    operator: str
    name: str  # of the layer that calls it
    sizes: dict[str, int] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.operator} {self.name} ({', '.join(f'{k}={v}' for k, v in self.sizes.items())})"


@dataclass(frozen=True, slots=True)
class Operator:
    name: str
    wanted: Callable[[ModelSizes, Serving], bool]
    shapes: Callable[[ModelSizes, int], Mapping[str, Mapping[str, int]]]  # of a model split over so many ranks


def linear(model: ModelSizes, ranks: int) -> dict[str, dict[str, int]]:
    """The linear layers that have the model's own quantisation: n outputs of k inputs."""
    found = {} if model.latent_attention else _attention(model, ranks)
    if model.intermediate:
        found["gate_up"] = {"n": 2 * model.intermediate // ranks, "k": model.hidden}
        found["down"] = {"n": model.hidden, "k": model.intermediate // ranks}
    return found


def _attention(model: ModelSizes, ranks: int) -> dict[str, dict[str, int]]:
    heads = model.heads * model.head_size // ranks
    kv = max(1, model.kv_heads // ranks) * model.head_size  # KV heads are replicated where there are fewer than ranks
    return {"qkv": {"n": heads + 2 * kv, "k": model.hidden}, "o": {"n": model.hidden, "k": heads}}


def experts(model: ModelSizes, ranks: int) -> dict[str, dict[str, int]]:
    """The experts of one layer, split over ranks by their intermediate size, as engines do by default."""
    sizes = {"experts": model.experts, "topk": model.experts_per_token, "hidden": model.hidden}
    return {"experts": {**sizes, "intermediate": model.expert_intermediate // ranks}}


def _asks_for_cutlass(_: ModelSizes, serving: Serving) -> bool:
    return serving.moe_backend == "flashinfer_cutlass"


OPERATORS = (
    Operator("mm_bf16", lambda model, _: model.weights == "bf16", linear),
    Operator("bmm_fp8", lambda model, _: model.weights == "fp8", linear),
    Operator("mm_fp4", lambda model, _: model.weights == "fp4", linear),
    # On a GPU whose kernels the image lacks, these alone are built for tens of minutes: only where the engine asks.
    Operator(
        "cutlass_fused_moe",
        lambda m, s: m.experts > 0 and m.weights == "bf16" and _asks_for_cutlass(m, s),
        experts,
    ),
)


def problems(model: ModelSizes, serving: Serving) -> tuple[Problem, ...]:
    """What the engine would have tuned, each shape once."""
    found: dict[tuple[str, tuple[tuple[str, int], ...]], Problem] = {}
    for operator in OPERATORS:
        if operator.wanted(model, serving):
            for name, sizes in operator.shapes(model, serving.tensor).items():
                problem = Problem(operator.name, name, dict(sizes))
                found.setdefault((operator.name, tuple(sorted(sizes.items()))), problem)
    return tuple(found.values())
