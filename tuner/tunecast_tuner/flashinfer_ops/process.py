"""Runs FlashInfer's operators beside the rank: starts the process, waits for its report, ends it with the attempt."""

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

# Not by the script's path: its directory would come first on sys.path, with names that others have too.
BOOT = (
    "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); "
    "from tunecast_tuner.flashinfer_ops import child; child.start()"
)
LIMIT = 16 * 2**20  # bytes of a report


def run(context: Context, python: str, request: Request) -> tuple[Report, float]:
    """The report of one run, and the seconds it took from the process's start to its end.

    Raises:
        AttemptError: it failed, or the attempt ended; nothing of it is left.
    """
    with tempfile.TemporaryDirectory(prefix="tunecast-", dir=context.temporary) as directory:
        asked, told = Path(directory, "request.json"), Path(directory, "report.json")
        asked.write_bytes(canonical(request))
        command = [python, "-B", "-c", BOOT, _roots(), str(asked), str(told)]
        process = Process(command, context.environment, context.console, "the operators' process")
        try:
            context.attempt.until(lambda: process.ended() is not None)
        finally:
            seconds = process.seconds
            process.stop(ABORT_SECONDS)
        return _report(process, told), seconds


def _report(process: Process, path: Path) -> Report:
    if code := process.ended():
        raise process.failure(code)
    try:
        return decode(Report, path.read_bytes(), "the operators' report", LIMIT)
    except (OSError, MalformedError) as error:
        raise AttemptError(job.INTERNAL, f"the operators' process left no report: {error}") from error


def _roots() -> str:
    """Where these two packages are: one directory in a Job, two in a checkout."""
    packages = (tunecast_tuner, tunecast_core)
    return os.pathsep.join(dict.fromkeys(str(Path(str(package.__file__)).parent.parent) for package in packages))
