"""``python -m tunecast_init fetch`` and ``python -m tunecast_init tools <destination>``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tunecast_core.errors import TunecastError
from tunecast_core.records import report
from tunecast_core.records.codec import canonical
from tunecast_core.records.report import InitReport
from tunecast_core.trust.settings import Trust
from tunecast_init import settings as s
from tunecast_init.install import begin, clear, finish
from tunecast_init.supervisor import cold, supervise
from tunecast_init.tools import SOURCE, copy_tools
from tunecast_init.trust import RefusedError, read_trust

STARTED = time.monotonic()
MARGIN = 1.0  # seconds between the worker's own deadline and its kill, so that the worker can report where it was
MEMORY = "has too little memory: raise its limit (the chart's value initContainer.resources)"
KILLED = (
    "killed before it could report; the container's last state says why. "
    f"Where that is OOMKilled, the init container {MEMORY}"
)
USAGE = "usage: python -m tunecast_init fetch | tools <destination>"


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    match arguments:
        case ["fetch"]:
            return fetch_main(environment)
        case ["tools", destination]:
            files = copy_tools(Path(environment.get("TUNECAST_TOOLS_SOURCE") or SOURCE), Path(destination))
            sys.stdout.write(f"tunecast: {files} files of the rank program are in {destination}\n")
            return 0
    sys.stderr.write(USAGE + "\n")
    return 2


def fetch_main(environment: Mapping[str, str]) -> int:
    """Returns the exit status: 1 without a bundle where onFailure is Block, so that the kubelet retries; else 0."""
    blocks = environment.get("TUNECAST_ON_FAILURE") == "Block"
    mount_path, log = s.mount_path(environment), Path(environment.get("TUNECAST_TERMINATION_LOG") or s.TERMINATION_LOG)
    _write(_named(environment, InitReport("Cold", report.INTERRUPTED, f"this run was {KILLED}", "")), log)
    outcome = _never_raising(lambda: _run_once(environment, mount_path, blocks=blocks))
    if outcome.result == "Cold":
        outcome = _and_then(outcome, lambda: clear(mount_path))
    outcome = _and_then(_named(environment, outcome), lambda: finish(mount_path))
    _report(outcome, log)
    return 1 if blocks and outcome.result != "Hit" else 0


def _named(environment: Mapping[str, str], outcome: InitReport) -> InitReport:
    seconds = outcome.seconds or {"total": round(time.monotonic() - STARTED, 3)}
    return replace(outcome, key=environment.get("TUNECAST_KEY", ""), seconds=seconds)


def _run_once(environment: Mapping[str, str], mount_path: Path, *, blocks: bool) -> InitReport:
    """Starts cold after a run that the kernel killed together with its supervisor, unless onFailure is Block.

    Another full run would be killed like the one before.
    """
    if begin(mount_path) and not blocks:
        return InitReport("Cold", report.INTERRUPTED, f"the run before this one was {KILLED}", "")
    return _run(environment)


def _never_raising(work: Callable[[], InitReport]) -> InitReport:
    try:
        return work()
    except TunecastError as error:
        return cold(error)
    except MemoryError:
        return InitReport("Cold", report.OUT_OF_MEMORY, f"the init container {MEMORY}", "")
    except Exception as error:  # noqa: BLE001  # a bug must not keep a replica from starting cold
        sys.excepthook(type(error), error, error.__traceback__)
        return InitReport("Cold", report.INTERNAL_ERROR, f"{type(error).__name__}: {error}", "")


def _and_then(outcome: InitReport, work: Callable[[], None]) -> InitReport:
    """Runs a cleanup step. If the step fails, appends its error to the message of the report."""
    try:
        work()
    except TunecastError as error:
        return replace(outcome, message=f"{outcome.message}; and {error}")
    return outcome


def _run(environment: Mapping[str, str]) -> InitReport:
    settings = s.from_environment(environment)
    trust = read_trust(settings.trust)
    until = STARTED + trust.deadline_seconds

    def work() -> InitReport:
        return _never_raising(lambda: _fetch(settings, trust, until - MARGIN))

    return supervise(work, until)


def _fetch(settings: s.Settings, trust: Trust, until: float) -> InitReport:
    from tunecast_init.fetch import Phases, fetch  # noqa: PLC0415  # boto3 and cryptography take half a second

    phases = Phases(time.monotonic, STARTED)
    phases.seconds["start"] = time.monotonic() - STARTED
    try:
        return fetch(settings, trust, phases, until)
    except TunecastError as error:
        outcome = replace(cold(error, settings.key, phases.total()), hardware=settings.hardware.name)
        return replace(outcome, manifest=error.manifest) if isinstance(error, RefusedError) else outcome


def _report(outcome: InitReport, log: Path) -> None:
    outcome = replace(outcome, message=outcome.message.encode(errors="replace").decode())
    sys.stdout.write(f"tunecast: {outcome.result}: {outcome.reason}: {outcome.message} {_figures(outcome)}\n")
    sys.stdout.flush()
    _write(outcome, log)


def _write(outcome: InitReport, log: Path) -> None:
    try:
        log.write_bytes(encode(outcome))
    except OSError as error:
        sys.stderr.write(f"tunecast: the report can't be written to {log}: {error}\n")


def _figures(outcome: InitReport) -> str:
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in outcome.seconds.items())
    return f"({outcome.bytes / 1e6:.1f} MB; {seconds})"


def encode(outcome: InitReport) -> bytes:
    """Returns the report as JSON of at most LIMIT bytes. A message that doesn't fit is cut."""
    data, text = canonical(outcome), outcome.message[: report.LIMIT]
    while len(data) > report.LIMIT and text:
        text = text[: len(text) * 9 // 10]
        data = canonical(replace(outcome, message=text + "..."))
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
