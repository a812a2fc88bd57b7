"""The process that runs FlashInfer's operators in the engine's interpreter. The module ``process`` starts it.

A separate process can be killed at any moment, and a crash of a kernel doesn't end the rank.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunecast_core.bundle import flashinfer as rules
from tunecast_core.records import job
from tunecast_core.records.codec import canonical, decode
from tunecast_tuner.flashinfer_ops import config, locate, model, table
from tunecast_tuner.flashinfer_ops.calls import CALLS, Call
from tunecast_tuner.flashinfer_ops.recorder import Found, recording
from tunecast_tuner.flashinfer_ops.records import Lacking, Report, Request
from tunecast_tuner.flashinfer_ops.table import Problem
from tunecast_tuner.proof.diagnosis import USAGE
from tunecast_tuner.rank.context import command_line
from tunecast_tuner.rank.failures import AttemptError

PR_SET_PDEATHSIG = 1


class Seconds(dict[str, float]):
    """Seconds by phase."""

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self[phase] = round(self.get(phase, 0.0) + time.monotonic() - started, 3)


def start() -> None:
    """Handles the request in the first file of the command line, and writes the report to the second one."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a rank that is killed can't end its child
    source, target = (Path(name) for name in sys.argv[1:3])
    request = decode(Request, source.read_bytes(), str(source))
    try:
        target.write_bytes(canonical(_locate(request) if request.mode == "Locate" else run(request)))
    except AttemptError as failure:
        sys.stderr.write(f"operators: error: {failure.message}\n")
        sys.exit(USAGE if failure.reason == job.BAD_SETTINGS else 1)  # the status USAGE ends tuning


def _locate(request: Request) -> Report:
    directory, problem = locate.locate(command_line(request.command, os.environ))
    return Report(directory=directory, directory_problem=problem)


def run(request: Request) -> Report:
    """Tunes or replays. Operators that this GPU or this FlashInfer can't run are reported and skipped.

    Raises:
        AttemptError: the command line or the model's config.json can't be used.
    """
    seconds = Seconds()
    with seconds.of("import"):
        import flashinfer  # noqa: PLC0415
        import torch  # noqa: PLC0415
        from flashinfer.autotuner import AutoTuner  # noqa: PLC0415
    tuner = AutoTuner.get()
    serving = model.serving(command_line(request.command, os.environ))
    problems = request.problems if request.mode == "Replay" else _problems(serving)
    metadata = _metadata(tuner, Path(request.cache).parent)
    with seconds.of("jit"):
        calls, lacking = _build(torch, flashinfer, problems)
    mismatches: Sequence[str] = ()
    if request.mode == "Tune":
        with seconds.of("tuning"):
            _tune(torch, flashinfer, calls, serving.batched_tokens, lacking, request.cache)
    else:
        with seconds.of("load"):
            mismatches = _load(tuner, Path(request.cache), metadata)
    with seconds.of("replay"):
        found = _replay(torch, tuner, calls, serving.token_counts)
    return Report(
        metadata=metadata,
        problems=tuple(calls),
        lacking=tuple(Lacking(problem, reason) for problem, reason in lacking.items()),
        mismatches=tuple(mismatches),
        entries=_entries(Path(request.cache)),
        hits=len(found.hits),
        misses=len(found.misses),
        tactics=found.tactics,
        seconds=dict(seconds),
    )


def _problems(serving: model.Serving) -> tuple[Problem, ...]:
    found = model.read(config.load(serving.model, serving.revision), serving.quantization)
    return table.problems(found, serving)


def _build(torch: Any, flashinfer: Any, problems: Sequence[Problem]) -> tuple[dict[Problem, Call], dict[Problem, str]]:
    """Runs each operator once, so that FlashInfer compiles it."""
    calls: dict[Problem, Call] = {}
    lacking: dict[Problem, str] = {}
    for problem in problems:
        try:
            calls[problem] = CALLS[problem.operator](torch, flashinfer, problem.sizes)
            calls[problem](1)()
            _settle(torch)
        except Exception as error:  # noqa: BLE001 - libraries raise various errors for unsupported operators
            calls.pop(problem, None)
            lacking[problem] = _message(error)
            print(f"can't run here: {problem}: {lacking[problem]}", flush=True)  # noqa: T201 - the rank's log
    return calls, lacking


def _tune(
    torch: Any, flashinfer: Any, calls: dict[Problem, Call], tokens: int, lacking: dict[Problem, str], cache: str
) -> None:
    """Tunes each operator. A call with the maximum of tokens makes FlashInfer tune for all smaller numbers, too."""
    with flashinfer.autotune(True, cache=cache):
        for problem, call in list(calls.items()):
            try:
                call(tokens)()
                _settle(torch)
            except Exception as error:  # noqa: BLE001 - as above
                del calls[problem]
                lacking[problem] = _message(error)
            else:
                print(f"tuned {problem}", flush=True)  # noqa: T201


def _load(tuner: Any, cache: Path, metadata: Mapping[str, str]) -> list[str]:
    """Loads the file unless FlashInfer would skip it with a warning. Returns the mismatches."""
    if not cache.exists():
        return []  # nothing was tuned
    saved = rules.read(cache.read_bytes(), str(cache)).metadata
    mismatches = [str(mismatch) for mismatch in rules.mismatches(saved, metadata)]
    if not mismatches:
        tuner.load_configs(str(cache))
    return mismatches


def _replay(torch: Any, tuner: Any, calls: Mapping[Problem, Call], counts: Sequence[int]) -> Found:
    with recording(tuner) as found:
        for call in calls.values():
            for tokens in counts:
                call(tokens)()
        _settle(torch)
    return found


def _metadata(tuner: Any, beside: Path) -> dict[str, str]:
    """Reads FlashInfer's metadata from a file that it saves in a temporary directory below ``beside``."""
    with tempfile.TemporaryDirectory(dir=beside) as directory:
        path = Path(directory, "metadata.json")
        tuner.save_configs(str(path))
        return dict(rules.read(path.read_bytes(), str(path)).metadata)


def _entries(cache: Path) -> int:
    return len(rules.read(cache.read_bytes(), str(cache)).tactics) if cache.exists() else 0


def _settle(torch: Any) -> None:
    """Waits for kernels, which run and fail asynchronously."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
