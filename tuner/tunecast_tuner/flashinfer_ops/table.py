"""The table of operators that FlashInfer tunes, with the models that use them and their shapes. Pure.

To add an operator, add a row here and its call to the module ``calls``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tunecast_tuner.flashinfer_ops.model import ModelSizes, Serving


@dataclass(frozen=True, slots=True)
class Problem:
    """One operator at one shape, for any number of tokens."""

    operator: str
    name: str  # of the model's layer that calls the operator
    sizes: dict[str, int] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.operator} {self.name} ({', '.join(f'{k}={v}' for k, v in self.sizes.items())})"


@dataclass(frozen=True, slots=True)
class Operator:
    name: str
    wanted: Callable[[ModelSizes, Serving], bool]
    shapes: Callable[[ModelSizes, int], Mapping[str, Mapping[str, int]]]  # (model, number of ranks) -> shapes


def linear(model: ModelSizes, ranks: int) -> dict[str, dict[str, int]]:
    """Returns the shapes of the linear layers with the model's quantisation: n outputs of k inputs."""
    found = {} if model.latent_attention else _attention(model, ranks)
    if model.intermediate:
        found["gate_up"] = {"n": 2 * model.intermediate // ranks, "k": model.hidden}
        found["down"] = {"n": model.hidden, "k": model.intermediate // ranks}
    return found


def _attention(model: ModelSizes, ranks: int) -> dict[str, dict[str, int]]:
    heads = model.heads * model.head_size // ranks
    kv = max(1, model.kv_heads // ranks) * model.head_size  # KV heads are replicated if there are fewer than ranks
    return {"qkv": {"n": heads + 2 * kv, "k": model.hidden}, "o": {"n": model.hidden, "k": heads}}


def experts(model: ModelSizes, ranks: int) -> dict[str, dict[str, int]]:
    """Returns the shape of the experts of one layer, split over ranks by their intermediate size as by default."""
    sizes = {"experts": model.experts, "topk": model.experts_per_token, "hidden": model.hidden}
    return {"experts": {**sizes, "intermediate": model.expert_intermediate // ranks}}


def _asks_for_cutlass(_: ModelSizes, serving: Serving) -> bool:
    return serving.moe_backend == "flashinfer_cutlass"


OPERATORS = (
    Operator("mm_bf16", lambda model, _: model.weights == "bf16", linear),
    Operator("bmm_fp8", lambda model, _: model.weights == "fp8", linear),
    Operator("mm_fp4", lambda model, _: model.weights == "fp4", linear),
    # Building these kernels can take tens of minutes, so they are tuned only if the engine asks for them.
    Operator(
        "cutlass_fused_moe",
        lambda m, s: m.experts > 0 and m.weights == "bf16" and _asks_for_cutlass(m, s),
        experts,
    ),
)


def problems(model: ModelSizes, serving: Serving) -> tuple[Problem, ...]:
    """Returns the problems that the engine would tune, each shape once."""
    found: dict[tuple[str, tuple[tuple[str, int], ...]], Problem] = {}
    for operator in OPERATORS:
        if operator.wanted(model, serving):
            for name, sizes in operator.shapes(model, serving.tensor).items():
                problem = Problem(operator.name, name, dict(sizes))
                found.setdefault((operator.name, tuple(sorted(sizes.items()))), problem)
    return tuple(found.values())
