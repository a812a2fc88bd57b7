"""Measures one engine start with its sweep and its greedy answers, in the same way for cold and warm starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tunecast_core.records import job
from tunecast_core.records.manifest import Start, Sweep
from tunecast_tuner.engine.child import EngineProcess, running
from tunecast_tuner.engine.client import Reply
from tunecast_tuner.engine.sweep import first_request, greedy, limits, plan, record, sweep
from tunecast_tuner.proof import phases
from tunecast_tuner.proof.outputs import Answer
from tunecast_tuner.rank.context import Context
from tunecast_tuner.rank.failures import AttemptError


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of one start."""

    start: Start
    lines: tuple[phases.Line, ...]  # first lines of the log
    batches: int  # number of the sweep's batches that were sent
    answers: tuple[tuple[Answer, ...], ...]  # greedy answers by round
    sweep: Sweep


def measure(
    context: Context,
    environment: Mapping[str, str],
    stages: tuple[job.Stage, job.Stage],
    rounds: int,
    batches: int | None = None,
) -> Measured:
    """Starts the engine, sends the sweep, asks for greedy answers, and stops the engine.

    Args:
        context: context of the attempt.
        environment: environment of the engine.
        stages: stages to report for the start and for the sweep.
        rounds: number of rounds of greedy answers.
        batches: number of the sweep's batches to send, by default all. A warm start sends as many as the cold one.

    Raises:
        AttemptError: the engine exited, became unhealthy or accepted no request, or the attempt ended.
    """
    settings, attempt, console = context.settings, context.attempt, context.console
    context.progress.enter(stages[0], " ".join(settings.command))
    with running(settings.command, environment, context.line, console) as engine:
        start = phases.read(engine.log.head, engine.wait_healthy(attempt))
        context.progress.enter(stages[1], f"healthy after {start.total_seconds:.1f} s")
        models = _models(context, engine)
        limit = limits(context.line, models)
        kind = first_request(engine, limit, attempt, models)
        start = replace(start, first_token_seconds=round(engine.seconds, 3))
        swept = sweep(engine, kind, plan(kind, limit, settings.sweep)[:batches], attempt)
        recorded = record(kind, swept)
        console.log(
            f"{recorded.requests} requests to {recorded.route} in {swept.batches} batches, {swept.seconds:.1f} s:"
            f" {recorded.refused} were refused{recorded.refusal and f', the first one with {recorded.refusal}'}"
        )
        answers = tuple(greedy(engine, kind, limit, attempt) for _ in range(rounds))
        if not engine.client.healthy():
            engine.check()
            raise AttemptError(job.ENGINE_CRASHED, "the engine's /health no longer answers 200 after the sweep")
        console.log("stopping the engine")
    return Measured(start, tuple(engine.log.head), swept.batches, answers, recorded)


def _models(context: Context, engine: EngineProcess) -> Reply:
    try:
        return context.attempt.run(lambda: engine.client.get("/v1/models"))
    except OSError as error:
        engine.check()
        raise AttemptError(job.ENGINE_CRASHED, f"the engine is healthy, but /v1/models failed: {error}") from error
