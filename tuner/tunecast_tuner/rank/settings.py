"""Reads a rank's settings from files that the operator mounts, and never from the environment."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunecast_core.errors import MalformedError
from tunecast_core.records import job
from tunecast_core.records.codec import decode
from tunecast_tuner.rank.failures import AttemptError

RANK_VARIABLE = "JOB_COMPLETION_INDEX"  # set by the Job controller; no serving pod has it


@dataclass(frozen=True, slots=True)
class Invocation:
    """The command line of the rank program. The flags are for tests; a Job uses the defaults."""

    rank: int
    directory: Path  # of the settings file
    termination_log: Path
    settings_wait: float  # seconds within which the settings file must appear
    silence: float  # seconds without a heartbeat after which a rank is lost
    command: tuple[str, ...] = ()  # the engine's command line, behind "--"


def read_invocation(arguments: Sequence[str], environ: Mapping[str, str]) -> Invocation:
    """Parses the command line. Raises AttemptError (BAD_SETTINGS) if neither a flag nor the Job sets the rank."""
    parser = argparse.ArgumentParser(prog="tunecast-tuner")
    parser.add_argument("--rank", default=environ.get(RANK_VARIABLE, ""))
    parser.add_argument("--settings", type=Path, default=Path(job.SETTINGS_DIRECTORY))
    parser.add_argument("--termination-log", type=Path, default=Path(job.TERMINATION_LOG))
    parser.add_argument("--settings-wait", type=float, default=60.0)
    parser.add_argument("--silence", type=float, default=8.0)
    ours = arguments.index("--") if "--" in arguments else len(arguments)
    given = parser.parse_args(arguments[:ours])
    if not given.rank.isdecimal():
        raise AttemptError(job.BAD_SETTINGS, f"{RANK_VARIABLE} is {given.rank!r}, not a rank: run it in an Indexed Job")
    return Invocation(
        int(given.rank),
        given.settings,
        given.termination_log,
        given.settings_wait,
        given.silence,
        tuple(arguments[ours + 1 :]),
    )


def engine_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a serving pod: ours without the variables that the Job adds."""
    return {name: value for name, value in environ.items() if name != RANK_VARIABLE}


def load(directory: Path, wait: float = 0.0, sleep: Callable[[float], None] = time.sleep) -> job.JobSettings:
    """Reads the settings, waiting up to ``wait`` seconds for the file.

    Raises:
        AttemptError: BAD_SETTINGS, the file doesn't appear or can't be read.
    """
    path = directory / job.SETTINGS_FILE
    end = time.monotonic() + wait
    while True:
        try:
            return decode(job.JobSettings, path.read_bytes(), str(path))
        except FileNotFoundError:
            if time.monotonic() >= end:
                raise AttemptError(
                    job.BAD_SETTINGS, f"{path} did not appear within {wait:.0f} s: is the Job's Secret mounted?"
                ) from None
        except (OSError, MalformedError) as error:
            raise AttemptError(job.BAD_SETTINGS, f"{path} can't be read: {error}") from error
        sleep(0.2)


def check(settings: job.JobSettings, rank: int) -> None:
    """Raises AttemptError (BAD_SETTINGS) for settings with which no attempt can succeed."""
    if not 0 <= rank < settings.world_size:
        raise AttemptError(
            job.BAD_SETTINGS, f"rank {rank} is not one of the {settings.world_size} ranks of {settings.attempt_id}"
        )
    if not settings.command:
        raise AttemptError(job.BAD_SETTINGS, f"{settings.attempt_id} has no engine command")
    root = Path(settings.mount_path)
    if not root.is_dir() or any(root.iterdir()):
        raise AttemptError(
            job.BAD_SETTINGS, f"{root} should be an empty directory when a rank starts: mount a fresh emptyDir there"
        )
