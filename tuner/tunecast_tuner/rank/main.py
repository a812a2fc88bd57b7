"""The rank program, which runs one rank of one attempt, from its settings to its result."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tunecast_core.records import job
from tunecast_core.records.codec import canonical
from tunecast_core.records.seal import seal
from tunecast_tuner.peers.ranks import join
from tunecast_tuner.proof.redact import Redactor
from tunecast_tuner.rank import hardware
from tunecast_tuner.rank import settings as settings_module
from tunecast_tuner.rank.attempt import Attempt
from tunecast_tuner.rank.console import Console
from tunecast_tuner.rank.context import Context
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.rank.settings import Invocation
from tunecast_tuner.rank.upload import ProgressReporter, upload_bytes
from tunecast_tuner.workloads import engine, flashinfer_ops

TERMINATION_LIMIT = 4096  # bytes that the kubelet keeps
FAILURE_SECONDS = 5.0  # time limit to stage the result of a failure, since the pod's grace period is short
UNSETTLED_SECONDS = 3600.0  # deadline of the attempt until the settings are read
WORKLOADS = {"Engine": engine.run, "Operators": flashinfer_ops.run}


def main(arguments: Sequence[str]) -> NoReturn:
    """Runs this rank, and exits with 0 if the attempt succeeded on it, else with 1."""
    environ = settings_module.engine_environment(os.environ)
    attempt = Attempt(UNSETTLED_SECONDS)
    _end_on_sigterm(attempt)
    try:
        invocation = settings_module.read_invocation(arguments, os.environ)
    except AttemptError as failure:
        invocation = Invocation(0, Path(job.SETTINGS_DIRECTORY), Path(job.TERMINATION_LOG), 0.0, 0.0)
        result = failed(0, failure)
        Console(0, lambda: 0.0).log(f"{result.reason}: {result.message}")
    else:
        result = attempt_rank(invocation, environ, attempt)
    with suppress(OSError):
        invocation.termination_log.write_bytes(termination_message(result))
    _exit(0 if result.succeeded else 1)


def attempt_rank(invocation: Invocation, environ: dict[str, str], attempt: Attempt) -> job.RankResult:
    """Runs the whole attempt on this rank. The result is staged and returned even after a failure."""
    console = Console(invocation.rank, lambda: attempt.elapsed)
    try:
        settings = settings_module.load(invocation.directory, invocation.settings_wait, attempt.sleep)
    except AttemptError as failure:
        console.log(f"{failure.reason}: {failure.message}")
        return failed(invocation.rank, failure)
    settings = replace(settings, command=invocation.command or settings.command)
    attempt.limit(settings.timeout_seconds)

    def current() -> job.JobSettings:
        return settings_module.load(invocation.directory)

    progress = ProgressReporter(current, console, lambda: attempt.elapsed)
    context = Context(settings, attempt, console, progress, current, environ, _temporary())
    console.redactor = Redactor(context.secrets.values())
    with progress.reporting() if invocation.rank == 0 else nullcontext():
        result = console.redactor.result(_guarded(invocation, console, lambda: _run(context, invocation)))
        result = _staged(context, result)
        progress.enter("Done", f"{result.reason}: {result.message}")
    return result


def _run(context: Context, invocation: Invocation) -> job.RankResult:
    settings_module.check(context.settings, invocation.rank)
    context.progress.enter(
        "Joining", f"{context.settings.attempt_id}, rank {invocation.rank} of {context.settings.world_size}"
    )
    with join(context.settings, invocation.rank, context.attempt, invocation.silence) as ranks:
        hardware.agree(context, ranks)
        return WORKLOADS[context.settings.workload](context, ranks)


def _guarded(invocation: Invocation, console: Console, work: Callable[[], job.RankResult]) -> job.RankResult:
    try:
        return work()
    except AttemptError as failure:
        return failed(invocation.rank, failure)
    except Exception as error:  # noqa: BLE001 - bugs are reported to the operator, too
        for line in traceback.format_exc().splitlines():
            console.log(line)
        return failed(invocation.rank, AttemptError(job.INTERNAL, f"{type(error).__name__}: {error}"))


def _staged(context: Context, result: job.RankResult) -> job.RankResult:
    """Stages the result. Only rank 0 fails without it, since the termination message suffices for other ranks."""
    attempt = context.attempt if result.succeeded else Attempt(FAILURE_SECONDS)
    try:
        name = job.result_object(result.rank)
        data = seal(context.settings.token, name, canonical(result))
        attempt.run(lambda: upload_bytes(context.current, name, data))
    except AttemptError as failure:
        context.console.log(f"the result was not staged: {failure.message}")
        return failed(0, failure) if result.succeeded and result.rank == 0 else result
    return result


def failed(rank: int, failure: AttemptError) -> job.RankResult:
    """Returns the result of a rank whose attempt failed."""
    return job.RankResult(
        rank, succeeded=False, reason=failure.reason, message=failure.message, lost_rank=failure.lost_rank
    )


def termination_message(result: job.RankResult) -> bytes:
    """Returns the result without its large fields, as at most 4,096 bytes of JSON."""
    small = replace(result, archives=(), proof=None)
    if len(canonical(small)) > TERMINATION_LIMIT:
        small = replace(small, notes=(), provenance=None, environment={})
    while len(data := canonical(small)) > TERMINATION_LIMIT:
        small = replace(small, message=small.message[: len(small.message) // 2] + " ...")
    return data


def _end_on_sigterm(attempt: Attempt) -> None:
    failure = AttemptError(job.TERMINATED, "SIGTERM: the pod was evicted or deleted, or the Job ended")
    signal.signal(signal.SIGTERM, lambda *_: attempt.end(failure))


def _temporary() -> Path:
    """Returns the temporary directory: the volume of the Job, or the system's directory without one."""
    volume = Path(job.TEMPORARY_DIRECTORY)
    return volume if os.access(volume, os.W_OK) else Path(tempfile.gettempdir())


def _exit(code: int) -> NoReturn:
    """Exits without joining threads of gloo, which may still wait for a peer."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
