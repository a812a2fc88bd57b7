"""Reads the sizes of a model from its config.json. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunecast_core.engine.command_line import CommandLine
from tunecast_core.records import job
from tunecast_tuner.rank.failures import AttemptError

Weights = Literal["bf16", "fp8", "fp8_block", "fp4", "other"]
LANGUAGE_MODEL = ("text_config", "llm_config", "language_config")  # sections of multimodal models
DEFAULT_BATCHED_TOKENS = 8192  # default of vLLM's server on an H100 or better


@dataclass(frozen=True, slots=True)
class Serving:
    """Settings of the serving command line that affect operators."""

    model: str
    revision: str | None
    tensor: int
    batched_tokens: int
    moe_backend: str
    quantization: str

    @property
    def token_counts(self) -> tuple[int, ...]:
        """Numbers of tokens in a step for which FlashInfer tunes, and their maximum."""
        powers = (2**bit for bit in range(self.batched_tokens.bit_length()))
        between = (*range(256, 2048, 256), *range(2048, 4096, 512))
        return tuple(sorted({*powers, *(n for n in between if n <= self.batched_tokens), self.batched_tokens}))


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """Sizes of one model, before it is split over ranks."""

    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int  # intermediate size of dense layers; 0 without dense layers
    experts: int  # number of experts; 0 without a mixture of experts
    experts_per_token: int
    expert_intermediate: int
    vocabulary: int
    latent_attention: bool  # whether projections go through a smaller latent space, and so have other shapes
    weights: Weights


def serving(line: CommandLine) -> Serving:
    return Serving(
        model=line.model,
        revision=line.revision,
        tensor=line.tensor,
        batched_tokens=line.number("--max-num-batched-tokens") or DEFAULT_BATCHED_TOKENS,
        moe_backend=line.moe_backend,
        quantization=(line.text("--quantization") or "").lower(),
    )


def replica_ranks(line: CommandLine) -> int:
    """Returns the number of engine processes of one replica that share a tuning."""
    return line.tensor * line.pipeline


def read(config: Mapping[str, Any], quantization: str = "") -> ModelSizes:
    """Reads the sizes of a model. Multimodal models have a separate section for the language model.

    Raises:
        AttemptError: BAD_SETTINGS, a size is missing.
    """
    text = dict(config)
    for part in LANGUAGE_MODEL:
        text |= {name: value for name, value in _mapping(config.get(part)).items() if value is not None}
    heads = _size(text, "num_attention_heads", "n_head")
    hidden = _size(text, "hidden_size", "n_embd")
    experts = _size(text, "num_experts", "num_local_experts", "n_routed_experts", default=0)
    intermediate = _size(text, "intermediate_size", default=0)
    return ModelSizes(
        hidden=hidden,
        heads=heads,
        kv_heads=_size(text, "num_key_value_heads", default=heads),
        head_size=_size(text, "head_dim", default=hidden // heads),
        intermediate=0 if experts and not _has_dense_layers(text) else intermediate,
        experts=experts,
        experts_per_token=_size(text, "num_experts_per_tok", "top_k", default=1),
        expert_intermediate=_size(text, "moe_intermediate_size", default=intermediate),
        vocabulary=_size(text, "vocab_size"),
        latent_attention=_size(text, "kv_lora_rank", default=0) > 0,
        weights=_weights(_mapping(text.get("quantization_config")), quantization),
    )


def _size(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    numbers = (config.get(name) for name in names)
    found = next((number for number in numbers if isinstance(number, int) and number > 0), default)
    if found is None:
        raise AttemptError(
            job.BAD_SETTINGS, f"the model's config.json has no {names[0]}: the Operators workload can't know its shapes"
        )
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _has_dense_layers(config: Mapping[str, Any]) -> bool:
    return bool(config.get("first_k_dense_replace") or config.get("mlp_only_layers"))


def _weights(config: Mapping[str, Any], asked: str) -> Weights:
    """Returns the format of linear layers' weights from the checkpoint, or else from the command line."""
    method = str(config.get("quant_method") or asked).lower()
    formats = " ".join([method, str(config.get("quant_algo", "")), str(config.get("format", ""))]).lower()
    scales = _scales(config)
    if not method:
        return "bf16"
    if "mxfp" in formats or scales - {"tensor", "block", "tensor_group"}:  # such as a scale for each channel
        return "other"
    if config.get("weight_block_size") or "block" in scales:
        return "fp8_block"
    if "fp4" in formats:
        return "fp4"
    if "fp8" in formats or "float-quantized" in formats:
        return "fp8"
    return "other"


def _scales(config: Mapping[str, Any]) -> set[str]:
    """Returns the granularities of the scales, by their names in compressed-tensors."""
    groups = (_mapping(group) for group in _mapping(config.get("config_groups")).values())
    return {str(scale) for group in groups if (scale := _mapping(group.get("weights")).get("strategy"))}
