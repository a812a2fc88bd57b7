"""The requests that an engine gets once it is up, so that kernels built at the first request are captured too."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tunecast_cache.command_line import CommandLine
from tunecast_tuner.attempt import Attempt
from tunecast_tuner.client import Client, Reply
from tunecast_tuner.engine import Engine

COMPLETIONS = "/v1/completions"
MAX_CONCURRENCY = 256
BUDGET_SECONDS = 900.0  # no further batch is begun after it
PROMPTS = 8  # whose greedy answers are compared
Request = dict[str, Any]

SAMPLERS: tuple[Request, ...] = (
    {"temperature": 0.8, "top_k": 20},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 0.8, "top_k": 20, "top_p": 0.9},
    {"temperature": 0.8, "min_p": 0.1},
    {"temperature": 0.8, "seed": 7},
    {"presence_penalty": 0.5, "frequency_penalty": 0.5, "repetition_penalty": 1.1},
    {"logprobs": 0},
    {"logprobs": 1},
    {"logprobs": 20},
    {"temperature": 0.8, "n": 2},
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
GRAMMARS: tuple[Request, ...] = (
    {"response_format": {"type": "json_schema", "json_schema": {"name": "sweep", "schema": SCHEMA}}},
    {"structured_outputs": {"regex": "[ab]{1,4}"}},
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine can take, in tokens and sequences."""

    model: str
    model_len: int = 2048
    sequences: int = MAX_CONCURRENCY
    batched_tokens: int = 8192
    block: int = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests sent at once, and those that join while they decode."""

    requests: tuple[Request, ...]
    joining: tuple[Request, ...] = ()


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of a sweep."""

    batches: int
    sent: int
    refused: int  # answered 4xx or 5xx: a feature that this engine or model hasn't
    seconds: float


def limits(line: CommandLine, models: Reply) -> Limits:
    """From the engine's command line and its ``/v1/models``."""
    cards = models.body.get("data") or [{}]
    card = cards[0] if isinstance(cards[0], dict) else {}
    model_len = card.get("max_model_len")
    return Limits(
        model=str(card.get("id", "")),
        model_len=model_len if isinstance(model_len, int) else line.number("--max-model-len") or 2048,
        sequences=min(line.number("--max-num-seqs") or MAX_CONCURRENCY, MAX_CONCURRENCY),
        batched_tokens=line.number("--max-num-batched-tokens") or 8192,
        block=line.number("--block-size") or 16,
    )


def prompt(length: int, seed: int) -> list[int]:
    """Token ids that any vocabulary has, and that share no prefix with another seed's."""
    return [3 + (seed * 31 + index * (seed % 7 + 1)) % 190 for index in range(length)]


def plan(limit: Limits, extra: Iterable[Mapping[str, Any]] = ()) -> list[Batch]:
    """The sweep: the same for the same limits, so that every rank sends the same in the same order."""
    seeds = iter(range(1, 1_000_000))
    make = _maker(limit, seeds)
    batches = [Batch((make(length, max_tokens=3),)) for length in _lengths(limit)]
    sizes = sorted({size for size in (2, 7, 8, 15, 16, 17, limit.sequences) if size <= limit.sequences})
    batches += [Batch(tuple(make(5, max_tokens=4) for _ in range(size))) for size in sizes]
    repeated = make(max(1, min(4 * limit.block + 1, limit.model_len // 2)), max_tokens=3)
    batches += [Batch((repeated,)), Batch((repeated,))]
    late = max(1, min(limit.batched_tokens, limit.model_len) // 2)
    batches.append(Batch(tuple(make(7, max_tokens=24) for _ in range(4)), joining=(make(late, max_tokens=3),)))
    batches += [Batch((make(9, max_tokens=4, **options),)) for options in (*SAMPLERS, *GRAMMARS)]
    batches.append(Batch(tuple(make(9, max_tokens=4, **options) for options in ({}, *SAMPLERS))[: limit.sequences]))
    batches += [Batch(({"model": limit.model, **request},)) for request in extra]
    return batches


def _maker(limit: Limits, seeds: Iterator[int]) -> Any:
    def make(length: int, **options: Any) -> Request:
        return {
            "model": limit.model,
            "prompt": prompt(length, next(seeds)),
            "temperature": 0,
            "ignore_eos": True,
            **options,
        }

    return make


def _lengths(limit: Limits) -> list[int]:
    block, tokens = limit.block, limit.batched_tokens
    wanted = {1, 15, 16, 17, block - 1, block, block + 1, tokens - 1, tokens, tokens + 1, limit.model_len - 4}
    return sorted(length for length in wanted if 0 < length <= limit.model_len - 4)


def first_token(engine: Engine, limit: Limits, attempt: Attempt) -> bool:
    """Asks for one token; whether it came.

    Raises:
        AttemptError: the engine exited, or the attempt ended.
    """
    request = {"model": limit.model, "prompt": prompt(5, 1), "max_tokens": 1, "temperature": 0}
    status = attempt.run(lambda: _status(engine.client, request))
    engine.check()
    return status == http.HTTPStatus.OK


def sweep(engine: Engine, batches: Sequence[Batch], attempt: Attempt, budget: float = BUDGET_SECONDS) -> Swept:
    """Sends the batches one after the other.

    Raises:
        AttemptError: the engine exited, or the attempt ended.
    """
    start, sent, refused, done = time.monotonic(), 0, 0, 0
    for batch in batches:
        if time.monotonic() - start > budget:
            break
        statuses = attempt.run(lambda batch=batch: _send(engine.client, batch))  # type: ignore[misc]
        engine.check()
        sent += len(statuses)
        refused += sum(status != http.HTTPStatus.OK for status in statuses)
        done += 1
    return Swept(done, sent, refused, time.monotonic() - start)


def _send(client: Client, batch: Batch) -> list[int]:
    with ThreadPoolExecutor(len(batch.requests) + len(batch.joining)) as pool:
        waiting = [pool.submit(_status, client, request) for request in batch.requests]
        if batch.joining:
            time.sleep(0.05)  # while the first ones decode
        waiting += [pool.submit(_status, client, request) for request in batch.joining]
        return [future.result() for future in waiting]


def _status(client: Client, request: Request) -> int:
    try:
        return client.post(COMPLETIONS, request).status
    except (OSError, http.client.HTTPException):
        return 0  # the engine's own state says whether it is gone


def greedy(engine: Engine, limit: Limits, attempt: Attempt) -> tuple[str, ...]:
    """Greedy answers, one request at a time; an empty one where the engine gave none."""
    answers = []
    for seed in range(PROMPTS):
        body = {
            "model": limit.model,
            "prompt": prompt(min(12, max(1, limit.model_len - 20)), 1_000_003 + seed),
            "temperature": 0,
            "max_tokens": 16,
            "return_token_ids": True,  # logprobs would need a tokenizer
        }
        answers.append(attempt.run(lambda body=body: _answer(engine.client, body)))  # type: ignore[misc]
        engine.check()
    return tuple(answers)


def _answer(client: Client, body: Request) -> str:
    try:
        return spelling(client.post(COMPLETIONS, body))
    except (OSError, http.client.HTTPException):
        return ""


def spelling(reply: Reply) -> str:
    """One answer as text that is equal when the tokens are: their ids, where the engine gives them, else the text."""
    choices = reply.body.get("choices")
    if reply.status != http.HTTPStatus.OK or not isinstance(choices, list) or not choices:
        return ""
    choice = choices[0]
    tokens = choice.get("token_ids") or choice.get("text")
    return str(tokens) if tokens else ""
