from __future__ import annotations

import pytest

from tunecast_core.engine.command_line import read
from tunecast_core.records import job
from tunecast_tuner.engine.client import Client, Reply
from tunecast_tuner.engine.kinds import KINDS, EngineKind, prompt
from tunecast_tuner.engine.sweep import Limits, limits, plan, refused

COMPLETION = KINDS[0]
TINY = Limits("tiny", model_len=512, sequences=32, batched_tokens=512, block=16)


def lengths(limit: Limits) -> set[int]:
    return {
        len(request["prompt"]) for batch in plan(COMPLETION, limit) for request in (*batch.requests, *batch.joining)
    }


def test_the_plan_is_the_same_on_every_rank() -> None:
    assert plan(COMPLETION, TINY) == plan(COMPLETION, TINY)


def test_sizes_and_lengths_that_kernels_specialise_on() -> None:
    limit = Limits("m", model_len=4096, sequences=64, batched_tokens=2048, block=32)
    assert {1, 15, 16, 17, 31, 32, 33, 2047, 2048, 2049, 4092} <= lengths(limit)
    assert {1, 2, 7, 8, 15, 16, 17, 64} <= {len(batch.requests) for batch in plan(COMPLETION, limit)}


@pytest.mark.parametrize("limit", [TINY, Limits("m", model_len=6, sequences=1, batched_tokens=4, block=16)])
def test_no_batch_exceeds_the_engines_limits(limit: Limits) -> None:
    for batch in plan(COMPLETION, limit):
        assert len(batch.requests) <= limit.sequences or batch.joining
    assert max(length for length in lengths(TINY)) <= 512


def test_only_the_repeated_prompt_shares_a_prefix() -> None:
    starts = [tuple(r["prompt"][:4]) for b in plan(COMPLETION, TINY) for r in b.requests if len(r["prompt"]) > 60]
    assert len(starts) - len(set(starts)) == 1


def test_features() -> None:
    requests = [request for batch in plan(COMPLETION, TINY) for request in batch.requests]
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
    batches = plan(COMPLETION, TINY, [{"prompt": "hello"}, {"model": "lora", "prompt": "x"}])
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
        ([], {}, Limits("m", 2048, 256, 8192, 16)),
        (["--max-model-len=1k", "--max-num-seqs", "1024"], {}, Limits("m", 1000, 256, 8192, 16)),
        (
            ["--max-num-batched-tokens=512", "--block-size=128"],
            {"data": [{"id": "m", "max_model_len": 99}]},
            Limits("m", 99, 256, 512, 128),
        ),
        ([], {"data": ["odd"]}, Limits("m", 2048, 256, 8192, 16)),
        (["--served-model-name", "a", "b"], {}, Limits("a")),
        ([], {"data": [{"id": "served-first"}, {"id": "m"}]}, Limits("served-first")),
    ],
)
def test_limits(command: list[str], body: dict[str, object], expected: Limits) -> None:
    assert limits(read(["vllm", "serve", "m", *command]), Reply(200, body)) == expected


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.generates], ids=lambda kind: kind.route)
def test_engines_that_compute_are_asked_at_all_sizes_and_for_nothing_they_do_not_have(kind: EngineKind) -> None:
    batches = plan(kind, TINY)
    assert {1, 2, 7, 8, 15, 16, 17, 32} <= {len(batch.requests) for batch in batches}
    fields = set().union(*(request for batch in batches for request in batch.requests))
    assert not fields & {"top_k", "max_tokens", "ignore_eos", "response_format"}
    assert {request["model"] for batch in batches for request in batch.requests} == {"tiny"}


def test_text_of_unknown_length_leaves_room_for_its_template() -> None:
    chat = next(kind for kind in KINDS if kind.name == "Chat")
    sent = [r["messages"][0]["content"].split() for b in plan(chat, TINY) for r in (*b.requests, *b.joining)]
    assert max(map(len, sent)) == TINY.model_len // 2


@pytest.mark.parametrize(
    ("reply", "key", "words"),
    [
        (Reply(401, {"error": "Unauthorized"}), "", "answered 401: Unauthorized; a rank takes the API key"),
        (Reply(401, {"error": "Unauthorized"}), "", "or VLLM_API_KEY, and found none"),
        (Reply(403, {"detail": "no"}), "k", "403: no; a rank takes the API key"),
        (Reply(403, {"detail": "no"}), "k", "and the engine refused that key"),
        (Reply(404, {}, "<html>"), "", "/v1/x answered 404: <html>; start it so that it serves completions"),
        (Reply(400, {"error": {"message": "a\nb"}}), "", "/v1/x answered 400: a b;"),
        (Reply(500, {"error": {"message": "EngineDeadError"}}), "", "/v1/x answered 500: EngineDeadError"),
        (Reply(503, {}), "", "/v1/x answered 503: nothing"),
        (Reply(0, {}, "TimeoutError"), "", "/v1/x did not answer"),
    ],
)  # fmt: skip
def test_a_refused_sweep_ends_with_advice(reply: Reply, key: str, words: str) -> None:
    failure = refused(Client(8000, api_key=key), "/v1/x", reply)
    assert failure.reason == (job.SWEEP_REFUSED if 400 <= reply.status < 500 else job.ENGINE_CRASHED)
    assert words in failure.message
