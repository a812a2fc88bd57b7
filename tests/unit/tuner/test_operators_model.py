"""Shapes from the config.json of models as they are published, and from serving command lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunecast_core.engine.command_line import read as read_line
from tunecast_core.records import job
from tunecast_tuner.flashinfer_ops import config
from tunecast_tuner.flashinfer_ops.model import ModelSizes, Serving, read, replica_ranks, serving
from tunecast_tuner.rank.failures import AttemptError

QWEN3_8B = {
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
}
QWEN3_30B_A3B = {
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 6144,
    "mlp_only_layers": [],
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "vocab_size": 151936,
}
DEEPSEEK_V3 = {
    "hidden_size": 7168,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "kv_lora_rank": 512,
    "intermediate_size": 18432,
    "first_k_dense_replace": 3,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 2048,
    "vocab_size": 129280,
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
}
MIXTRAL = {
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 32000,
}
GPT2 = {"n_embd": 768, "n_head": 12, "vocab_size": 50257}


def a_model(hidden: int, heads: int, kv_heads: int, head_size: int, intermediate: int, **others: Any) -> ModelSizes:
    rest = {"experts": 0, "experts_per_token": 1, "expert_intermediate": intermediate, "latent_attention": False}
    return ModelSizes(hidden, heads, kv_heads, head_size, intermediate, **{**rest, "weights": "bf16", **others})


QWEN = a_model(4096, 32, 8, 128, 12288, vocabulary=151936)


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (QWEN3_8B, QWEN),
        (
            QWEN3_30B_A3B,
            a_model(2048, 32, 4, 128, 0, experts=128, experts_per_token=8, expert_intermediate=768, vocabulary=151936),
        ),
        (
            DEEPSEEK_V3,
            a_model(
                7168,
                128,
                128,
                56,
                18432,
                experts=256,
                experts_per_token=8,
                expert_intermediate=2048,
                vocabulary=129280,
                latent_attention=True,
                weights="fp8_block",
            ),
        ),
        (
            MIXTRAL,
            a_model(4096, 32, 8, 128, 0, experts=8, experts_per_token=2, expert_intermediate=14336, vocabulary=32000),
        ),
        (GPT2, a_model(768, 12, 12, 64, 0, vocabulary=50257)),
        ({"text_config": QWEN3_8B, "vision_config": {"hidden_size": 1152}}, QWEN),
        ({"hidden_size": 1, "llm_config": QWEN3_8B}, QWEN),
        ({**QWEN3_8B, "text_config": None, "quantization_config": None}, QWEN),
        ({**QWEN3_8B, "head_dim": None, "num_experts": 0, "first_k_dense_replace": 0}, QWEN),
    ],
    ids=["qwen3", "qwen3 moe", "deepseek", "mixtral", "gpt2", "multimodal", "internvl", "nulls", "zeros"],
)
def test_a_published_model(published: dict[str, Any], expected: ModelSizes) -> None:
    assert read(published) == expected


def test_a_null_of_the_language_model_hides_nothing() -> None:
    text = {**QWEN3_8B, "quantization_config": None}
    assert read({"text_config": text, "quantization_config": {"quant_method": "fp8"}}).weights == "fp8"


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {**QWEN3_8B, "num_attention_heads": 0},
        {**QWEN3_8B, "hidden_size": None},
        {**QWEN3_8B, "hidden_size": "4096"},
        {**QWEN3_8B, "vocab_size": -1},
        {"text_config": "text"},
    ],
)
def test_a_config_without_shapes_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(AttemptError, match=r"config\.json has no") as caught:
        read(odd)
    assert caught.value.reason == job.BAD_SETTINGS


def compressed(form: str, strategy: str) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": strategy}}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}


@pytest.mark.parametrize(
    ("quantization", "asked", "weights"),
    [
        (None, "", "bf16"),
        (None, "fp8", "fp8"),
        (None, "modelopt_fp4", "fp4"),
        ({"quant_method": "fp8", "activation_scheme": "static"}, "", "fp8"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "", "fp8_block"),
        (compressed("float-quantized", "tensor"), "", "fp8"),
        (compressed("float-quantized", "channel"), "", "other"),
        (compressed("float-quantized", "block"), "", "fp8_block"),
        (compressed("nvfp4-pack-quantized", "tensor_group"), "", "fp4"),
        (compressed("pack-quantized", "group"), "", "other"),
        ({"quant_method": "compressed-tensors", "format": "float-quantized"}, "", "fp8"),
        ({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": []}, "", "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "", "fp4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "", "fp8"),
        ({"quant_method": "mxfp4"}, "", "other"),
        ({"quant_method": "awq"}, "fp8", "other"),  # the checkpoint's settings count
        ("odd", "", "bf16"),
    ],
)
def test_how_weights_are_kept(quantization: Any, asked: str, weights: str) -> None:
    assert read({**QWEN3_8B, "quantization_config": quantization}, asked).weights == weights


def a_serving(model: str = "m", **others: Any) -> Serving:
    rest = {"revision": None, "tensor": 1, "batched_tokens": 8192, "moe_backend": "auto", "quantization": ""}
    return Serving(model, **{**rest, **others})


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("vllm serve m", a_serving()),
        ("python3 -m vllm.entrypoints.openai.api_server --model m", a_serving()),
        ("vllm serve --model=m --tensor-parallel-size 8", a_serving(tensor=8)),
        ("vllm serve m --revision v1 --max-num-batched-tokens=16k", a_serving(revision="v1", batched_tokens=16000)),
        ("vllm serve m --moe-backend=flashinfer-cutlass", a_serving(moe_backend="flashinfer_cutlass")),
        ("vllm serve m --quantization FP8", a_serving(quantization="fp8")),
    ],
)
def test_a_command_line(command: str, expected: Serving) -> None:
    assert serving(read_line(command.split())) == expected


@pytest.mark.parametrize(
    ("tokens", "counts"),
    [(1, (1,)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (600, (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600))],
)
def test_the_numbers_of_tokens_that_are_replayed(tokens: int, counts: tuple[int, ...]) -> None:
    assert a_serving(batched_tokens=tokens).token_counts == counts


def test_flashinfers_own_numbers_of_tokens_are_replayed() -> None:
    """The file of an H100 had 84 entries for four shapes."""
    assert len(a_serving(batched_tokens=8192).token_counts) == 21


@pytest.mark.parametrize(
    ("command", "ranks"),
    [
        ("vllm serve m", 1),
        ("vllm serve m --tensor-parallel-size=4", 4),
        ("vllm serve m --tensor-parallel-size=4 --pipeline-parallel-size 2", 8),
    ],
)
def test_the_ranks_of_a_replica(command: str, ranks: int) -> None:
    assert replica_ranks(read_line(command.split())) == ranks


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_config_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(AttemptError, match=r"the config.json of .* (can't be read|should hold)") as caught:
        config.load(str(tmp_path), None)
    assert caught.value.reason == job.BAD_SETTINGS


def test_a_config_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 1}')
    assert config.load(str(tmp_path), "main") == {"hidden_size": 1}


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ('{"quantization": {"quant_algo": "NVFP4"}}', {"quant_method": "modelopt", "quant_algo": "NVFP4"}),
        ('{"quantization": null}', None),
        ("{}", None),
    ],
)
def test_an_older_checkpoint_of_modelopt(tmp_path: Path, beside: str, expected: dict[str, str] | None) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 1}')
    (tmp_path / "hf_quant_config.json").write_text(beside)
    assert config.load(str(tmp_path), None).get("quantization_config") == expected


def test_the_quantisation_in_config_json_counts(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "fp8"}}')
    (tmp_path / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "NVFP4"}}')
    assert config.load(str(tmp_path), None)["quantization_config"] == {"quant_method": "fp8"}


def test_a_quantisation_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "hf_quant_config.json").write_text("not json")
    with pytest.raises(AttemptError, match=r"hf_quant_config\.json of .* can't be read"):
        config.load(str(tmp_path), None)
