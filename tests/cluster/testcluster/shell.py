"""Runs commands, and reports the cause of a failure."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from testcluster.cache import ClusterError

LIBC = ctypes.CDLL(None)
Command = Sequence[object]  # text, paths and other values that str() turns into a word


def run(
    command: Command,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> str:
    """Run to the end and return stdout. With `log`, all output goes to that file instead."""
    words = [str(word) for word in command]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (log or Path(os.devnull)).open("w") as sink:
            done = subprocess.run(
                words,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=sink if log else subprocess.PIPE,
                stderr=sink if log else subprocess.PIPE,
                text=True,
                check=False,
                preexec_fn=_die_with_parent,
            )
    except FileNotFoundError:
        raise ClusterError(f"{words[0]} is not on PATH: install it first") from None
    errors = f"the whole log is {log}\n{tail(log)}" if log else done.stderr + done.stdout
    if done.returncode:
        raise ClusterError(f"{' '.join(words)}\nended with {done.returncode}: {errors}")
    return done.stdout or ""


def _die_with_parent() -> None:
    """Kill the child when its parent dies: a killed `up` must leave nothing that disturbs the next one."""
    set_death_signal = 1
    LIBC.prctl(set_death_signal, signal.SIGKILL)


def tail(path: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or the reason why there are none."""
    if not path.exists():
        return f"({path} does not exist)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
