from __future__ import annotations

import pytest

from tunecast_cache.command_line import read
from tunecast_tuner.client import Reply
from tunecast_tuner.sweep import Limits, limits, plan, prompt, spelling

TINY = Limits("tiny", model_len=512, sequences=32, batched_tokens=512, block=16)


def lengths(limit: Limits) -> set[int]:
    return {len(request["prompt"]) for batch in plan(limit) for request in (*batch.requests, *batch.joining)}


def test_the_plan_is_the_same_on_every_rank() -> None:
    assert plan(TINY) == plan(TINY)


def test_sizes_and_lengths_that_kernels_specialise_on() -> None:
    limit = Limits("m", model_len=4096, sequences=64, batched_tokens=2048, block=32)
    assert {1, 15, 16, 17, 31, 32, 33, 2047, 2048, 2049, 4092} <= lengths(limit)
    assert {1, 2, 7, 8, 15, 16, 17, 64} <= {len(batch.requests) for batch in plan(limit)}


@pytest.mark.parametrize("limit", [TINY, Limits("m", model_len=6, sequences=1, batched_tokens=4, block=16)])
def test_no_batch_exceeds_the_engines_limits(limit: Limits) -> None:
    for batch in plan(limit):
        assert len(batch.requests) <= limit.sequences or batch.joining
    assert max(length for length in lengths(TINY)) <= 512


def test_only_the_repeated_prompt_shares_a_prefix() -> None:
    starts = [tuple(r["prompt"][:4]) for b in plan(TINY) for r in b.requests if len(r["prompt"]) > 60]
    assert len(starts) - len(set(starts)) == 1


def test_features() -> None:
    requests = [request for batch in plan(TINY) for request in batch.requests]
    for feature in (
        "top_k",
        "top_p",
        "min_p",
        "seed",
        "repetition_penalty",
        "n",
        "response_format",
        "structured_outputs",
    ):
        assert any(feature in request for request in requests), feature
    assert {0, 1, 20} <= {request.get("logprobs") for request in requests}


def test_extra_requests_come_last_and_keep_their_own_model() -> None:
    batches = plan(TINY, [{"prompt": "hello"}, {"model": "lora", "prompt": "x"}])
    assert [batch.requests for batch in batches[-2:]] == [
        ({"model": "tiny", "prompt": "hello"},),
        ({"model": "lora", "prompt": "x"},),
    ]


def test_prompts_stay_in_any_vocabulary() -> None:
    ids = [token for seed in range(200) for token in prompt(50, seed)]
    assert min(ids) >= 3
    assert max(ids) < 200


@pytest.mark.parametrize(
    ("command", "body", "expected"),
    [
        ([], {}, Limits("", 2048, 256, 8192, 16)),
        (["--max-model-len=1k", "--max-num-seqs", "1024"], {}, Limits("", 1000, 256, 8192, 16)),
        (
            ["--max-num-batched-tokens=512", "--block-size=128"],
            {"data": [{"id": "m", "max_model_len": 99}]},
            Limits("m", 99, 256, 512, 128),
        ),
        ([], {"data": ["odd"]}, Limits("", 2048, 256, 8192, 16)),
    ],
)
def test_limits(command: list[str], body: dict[str, object], expected: Limits) -> None:
    assert limits(read(["vllm", "serve", "m", *command]), Reply(200, body)) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(200, {"choices": [{"token_ids": [1, 2], "text": "ab"}]}), "[1, 2]"),
        (Reply(200, {"choices": [{"text": "a", "token_ids": None}]}), "a"),
        (Reply(200, {"choices": [{"text": ""}]}), ""),
        (Reply(200, {}), ""),
        (Reply(500, {"choices": [{"text": "a"}]}), ""),
    ],
)
def test_spelling(reply: Reply, expected: str) -> None:
    assert spelling(reply) == expected
