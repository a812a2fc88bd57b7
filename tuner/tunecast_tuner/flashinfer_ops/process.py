"""Runs FlashInfer's operators in a child process: starts it, waits for its report, and ends it with the attempt."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import tunecast_core
import tunecast_tuner
from tunecast_core.errors import MalformedError
from tunecast_core.records import job
from tunecast_core.records.codec import canonical, decode
from tunecast_tuner.engine.process import ABORT_SECONDS, Process
from tunecast_tuner.flashinfer_ops.records import Report, Request
from tunecast_tuner.rank.context import Context
from tunecast_tuner.rank.failures import AttemptError

# Running the script by its path would put its directory first on sys.path, where its modules shadow others.
BOOT = (
    "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); "
    "from tunecast_tuner.flashinfer_ops import child; child.start()"
)
LIMIT = 16 * 2**20  # maximum size of a report in bytes


def run(context: Context, python: str, request: Request) -> tuple[Report, float]:
    """Runs the request, and returns its report and the seconds from the process's start to its end.

    Raises:
        AttemptError: the process failed, or the attempt ended. No process is left.
    """
    with tempfile.TemporaryDirectory(prefix="tunecast-", dir=context.temporary) as directory:
        source, target = Path(directory, "request.json"), Path(directory, "report.json")
        source.write_bytes(canonical(request))
        command = [python, "-B", "-c", BOOT, _roots(), str(source), str(target)]
        process = Process(command, context.environment, context.console, "the FlashInfer process")
        try:
            context.attempt.until(lambda: process.ended() is not None)
        finally:
            seconds = process.seconds
            process.stop(ABORT_SECONDS)
        return _report(process, target), seconds


def _report(process: Process, path: Path) -> Report:
    if code := process.ended():
        raise process.failure(code)
    try:
        return decode(Report, path.read_bytes(), "the report of the FlashInfer process", LIMIT)
    except (OSError, MalformedError) as error:
        raise AttemptError(job.INTERNAL, f"the FlashInfer process left no report: {error}") from error


def _roots() -> str:
    """Returns the directories of the two packages: one directory in a Job, two in a checkout."""
    packages = (tunecast_tuner, tunecast_core)
    return os.pathsep.join(dict.fromkeys(str(Path(str(package.__file__)).parent.parent) for package in packages))
