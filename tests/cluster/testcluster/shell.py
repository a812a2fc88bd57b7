"""Run a command, and say what went wrong where it fails."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from testcluster.cache import ClusterError

Command = Sequence[object]  # text, paths: what str() makes a word of


def run(
    command: Command,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Run to the end and return stdout. With `log`, all output goes to that file instead."""
    words = [str(word) for word in command]
    full = {**os.environ, **(env or {})}
    try:
        if log is None:
            done = subprocess.run(words, cwd=cwd, env=full, input=stdin, capture_output=True, text=True, check=False)
            output, errors = done.stdout, done.stderr
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w") as sink:
                done = subprocess.run(words, cwd=cwd, env=full, stdout=sink, stderr=sink, text=True, check=False)
            output, errors = "", f"the whole log is {log}\n{tail(log)}"
    except FileNotFoundError:
        raise ClusterError(f"{words[0]} is not on PATH: install it first") from None
    if done.returncode:
        raise ClusterError(f"{' '.join(words)}\nended with {done.returncode}: {errors}{output}")
    return output


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, or a word on why there are none."""
    if not path.exists():
        return f"({path} does not exist)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
