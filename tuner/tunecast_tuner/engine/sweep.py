"""The sweep: requests to a healthy engine, so that kernels that are built at the first request are captured, too."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tunecast_core.engine.command_line import CommandLine
from tunecast_core.records import job
from tunecast_core.records.manifest import Sweep
from tunecast_tuner.engine.child import EngineProcess
from tunecast_tuner.engine.client import Client, Reply
from tunecast_tuner.engine.kinds import KINDS, Body, EngineKind
from tunecast_tuner.proof.outputs import Answer
from tunecast_tuner.rank.attempt import Attempt
from tunecast_tuner.rank.failures import AttemptError

MAX_CONCURRENCY = 256
BUDGET_SECONDS = 900.0  # time after which no further batch begins
PROMPTS = 8  # number of prompts whose greedy answers are compared
NO_ROUTE = frozenset({404, 405, 501})
FORBIDDEN = frozenset({401, 403})
SERVER_ERROR = 500

SAMPLERS: tuple[Body, ...] = (
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
GRAMMARS: tuple[Body, ...] = (
    {"response_format": {"type": "json_schema", "json_schema": {"name": "sweep", "schema": SCHEMA}}},
    {"structured_outputs": {"regex": "[ab]{1,4}"}},
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the engine, in tokens and sequences."""

    model: str
    model_len: int = 2048
    sequences: int = MAX_CONCURRENCY
    batched_tokens: int = 8192
    block: int = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that are sent at once, and requests that join while the former decode."""

    requests: tuple[Body, ...]
    joining: tuple[Body, ...] = ()


@dataclass(frozen=True, slots=True)
class Swept:
    """Result of a sweep."""

    batches: int
    sent: int
    seconds: float
    refusals: tuple[Reply, ...] = field(default=())  # for features that this engine or model doesn't have


def limits(line: CommandLine, models: Reply) -> Limits:
    """Reads the limits from the command line and ``/v1/models``, whose first entry is the first served name."""
    cards = models.body.get("data") or [{}]
    card = cards[0] if isinstance(cards[0], dict) else {}
    model_len = card.get("max_model_len")
    return Limits(
        model=str(card.get("id") or line.served_names[0]),
        model_len=model_len if isinstance(model_len, int) else line.number("--max-model-len") or 2048,
        sequences=min(line.number("--max-num-seqs") or MAX_CONCURRENCY, MAX_CONCURRENCY),
        batched_tokens=line.number("--max-num-batched-tokens") or 8192,
        block=line.number("--block-size") or 16,
    )


def plan(kind: EngineKind, limit: Limits, extra: Iterable[Mapping[str, Any]] = ()) -> list[Batch]:
    """Plans the sweep. The same limits give the same requests in the same order on every rank."""
    make = _maker(kind, limit, iter(range(1, 1_000_000)))
    batches = [Batch((make(length, max_tokens=3),)) for length in _lengths(kind, limit)]
    sizes = sorted({size for size in (2, 7, 8, 15, 16, 17, limit.sequences) if size <= limit.sequences})
    batches += [Batch(tuple(make(5, max_tokens=4) for _ in range(size))) for size in sizes]
    repeated = make(max(1, min(4 * limit.block + 1, limit.model_len // 2)), max_tokens=3)
    batches += [Batch((repeated,)), Batch((repeated,))]
    late = max(1, min(limit.batched_tokens, limit.model_len) // 2)
    batches.append(Batch(tuple(make(7, max_tokens=24) for _ in range(4)), joining=(make(late, max_tokens=3),)))
    if kind.generates:
        batches += [Batch((make(9, max_tokens=4, **options),)) for options in (*SAMPLERS, *GRAMMARS)]
        mixed = tuple(make(9, max_tokens=4, **options) for options in ({}, *SAMPLERS))
        batches.append(Batch(mixed[: limit.sequences]))
    batches += [Batch(({"model": limit.model, **request},)) for request in extra]
    return batches


def _maker(kind: EngineKind, limit: Limits, seeds: Iterator[int]) -> Any:
    def make(length: int, **options: Any) -> Body:
        return kind.request(limit.model, length, next(seeds), **options)

    return make


def _lengths(kind: EngineKind, limit: Limits) -> list[int]:
    block, tokens = limit.block, limit.batched_tokens
    most = limit.model_len // 2 if kind.text else limit.model_len - 4
    wanted = {1, 15, 16, 17, block - 1, block, block + 1, tokens - 1, tokens, tokens + 1, most}
    return sorted(length for length in wanted if 0 < length <= most)


def first_request(engine: EngineProcess, limit: Limits, attempt: Attempt, models: Reply) -> EngineKind:
    """Sends a minimal request of each kind, and returns the first kind that the engine accepts.

    Args:
        engine: a healthy engine.
        limit: limits of the engine.
        attempt: the current attempt.
        models: the engine's answer to ``/v1/models``.

    Raises:
        AttemptError: SWEEP_REFUSED, the engine accepts no kind of request; ENGINE_CRASHED, the engine fails at every
            request or exited; or the attempt ended.
    """
    if models.status in FORBIDDEN:
        raise refused(engine.client, "/v1/models", models)
    refusals: list[tuple[str, Reply]] = []
    routes: frozenset[str] | None = None
    for kind in KINDS:
        if refusals and routes is None:
            routes = _routes(engine, attempt)
        if routes and kind.route not in routes:
            continue
        reply = _ask(engine, kind, kind.request(limit.model, 5, 1, max_tokens=1), attempt)
        if reply.ok:
            return kind
        refusals.append((kind.route, reply))
    answered = [(route, reply) for route, reply in refusals if reply.status not in NO_ROUTE]
    raise refused(engine.client, *(answered or refusals)[0])


def _routes(engine: EngineProcess, attempt: Attempt) -> frozenset[str]:
    """Returns the routes that the engine's OpenAPI document lists; empty without a document."""
    reply = attempt.run(lambda: _safely(lambda: engine.client.get("/openapi.json")))
    engine.check()
    paths = reply.body.get("paths")
    return frozenset(paths) if reply.ok and isinstance(paths, dict) else frozenset()


def refused(client: Client, route: str, reply: Reply) -> AttemptError:
    """Returns the error for an engine that refused all requests, with advice."""
    what = f"{route} answered {reply.refusal}" if reply.status else f"{route} did not answer ({reply.refusal})"
    if not reply.status or reply.status >= SERVER_ERROR:
        return AttemptError(job.ENGINE_CRASHED, f"the engine is healthy, but fails at all requests: {what}")
    if reply.status in FORBIDDEN:
        found = "the engine refused that key" if client.api_key else "found none"
        advice = f"a rank takes the API key from --api-key or VLLM_API_KEY, and {found}"
    else:
        advice = "start it so that it serves completions, chat, embeddings, scores, classes, pooling or transcriptions"
    return AttemptError(job.SWEEP_REFUSED, f"the engine refused all requests of the sweep: {what}; {advice}")


def sweep(
    engine: EngineProcess, kind: EngineKind, batches: Sequence[Batch], attempt: Attempt, budget: float = BUDGET_SECONDS
) -> Swept:
    """Sends the batches one after the other.

    Raises:
        AttemptError: SWEEP_REFUSED, the engine accepted none of the requests; or the engine exited or the attempt
            ended.
    """
    start, sent, done = time.monotonic(), 0, 0
    refusals: list[Reply] = []
    for batch in batches:
        if time.monotonic() - start > budget:
            break
        replies = attempt.run(lambda batch=batch: _send(engine.client, kind, batch))  # type: ignore[misc]
        engine.check()
        sent += len(replies)
        refusals += [reply for reply in replies if not reply.ok]
        done += 1
    if sent and len(refusals) == sent:
        raise refused(engine.client, kind.route, refusals[0])
    return Swept(done, sent, time.monotonic() - start, tuple(refusals))


def record(kind: EngineKind, swept: Swept) -> Sweep:
    """Returns the record of a sweep for the proof."""
    first = next((reply.refusal for reply in swept.refusals), "")
    return Sweep(kind.name, kind.route, swept.sent, len(swept.refusals), first)


def _send(client: Client, kind: EngineKind, batch: Batch) -> list[Reply]:
    with ThreadPoolExecutor(len(batch.requests) + len(batch.joining)) as pool:
        waiting = [pool.submit(_post, client, kind, request) for request in batch.requests]
        if batch.joining:
            time.sleep(0.05)  # while the first ones decode
        waiting += [pool.submit(_post, client, kind, request) for request in batch.joining]
        return [future.result() for future in waiting]


def _ask(engine: EngineProcess, kind: EngineKind, body: Body, attempt: Attempt) -> Reply:
    reply = attempt.run(lambda: _post(engine.client, kind, body))
    engine.check()
    return reply


def _post(client: Client, kind: EngineKind, body: Body) -> Reply:
    return _safely(lambda: client.post(kind.route, body))


def _safely(call: Callable[[], Reply]) -> Reply:
    try:
        return call()
    except (OSError, http.client.HTTPException) as error:
        return Reply(0, {}, f"{type(error).__name__}: {error}")  # engine.check finds out whether the engine exited


def greedy(engine: EngineProcess, kind: EngineKind, limit: Limits, attempt: Attempt) -> tuple[Answer, ...]:
    """Sends greedy requests one at a time. An answer is empty if the engine gave none."""
    length = min(12, max(1, limit.model_len - 20))
    # Token IDs are compared, since logprobs would need a tokenizer.
    bodies = (
        kind.request(limit.model, length, 1_000_003 + seed, max_tokens=16, return_token_ids=True, ignore_eos=False)
        for seed in range(PROMPTS)
    )
    return tuple(kind.read(_ask(engine, kind, body, attempt)) for body in bodies)
