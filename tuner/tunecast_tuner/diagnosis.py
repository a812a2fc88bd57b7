"""Why an engine exited, from its exit status and its last words. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Sequence

from tunecast_cache import job
from tunecast_cache.layers import layer_of
from tunecast_tuner.failures import AttemptError

USAGE = 2  # argparse's exit status

_MEMORY = re.compile(
    r"OutOfMemoryError|CUDA out of memory|\bMemoryError\b|Cannot allocate memory|DefaultCPUAllocator: can't allocate"
    r"|No available memory for the cache blocks|is less than desired GPU memory utilization"
    r"|larger than the available KV cache memory"
)
# What no retry heals: arguments, the model's name or files, an interpreter that isn't there.
_REJECTED = re.compile(
    r": error: |unrecognized arguments|ValidationError|invalid choice:|argument --"
    r"|RepositoryNotFoundError|GatedRepoError|Repository Not Found|is not a local folder and is not a valid model"
    r"|Can't load the configuration|No such model|does not recognize this architecture"
    r"|Model architectures .* not supported"
    r"|Invalid repository ID or local directory|does not appear to have a file named|HFValidationError"
    r"|No module named|can't open file|Address already in use"
    r"|is not supported|Unknown quantization method|is greater than the derived max_model_len|must be divisible by"
)
_PREFIX = re.compile(r"^(?:\([^)]*\)\s*)?(?:(?:ERROR|CRITICAL)\s+[\d-]+ [\d:]+\s+(?:\[[^\]]*\]\s*)?)?")
_ERROR = re.compile(r"^(?:[\w.]*(?:Error|Exception|Interrupt)\b.*|.*: error: .*|.*\berror:.*)")
_GENERIC = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|Engine process failed to start"
)


def diagnose(returncode: int, lines: Sequence[str], what: str = "the engine") -> AttemptError:
    """What a process that exited on its own, or was killed, tells.

    Args:
        returncode: as ``subprocess`` gives it: negative for a signal.
        lines: the end of its output, oldest first.
        what: the process was.
    """
    last = last_error(lines)
    how = _how(returncode)
    message = f"{what} {how}: {last}"
    if any(_MEMORY.search(line) for line in lines) or returncode == -signal.SIGKILL:
        return AttemptError(job.ENGINE_OUT_OF_MEMORY, message)
    if returncode == USAGE or _REJECTED.search(last):
        return AttemptError(job.ENGINE_REJECTED, message)
    return AttemptError(job.ENGINE_CRASHED, message)


def refusal(crash: AttemptError, files: Iterable[str], mount_path: str) -> AttemptError:
    """What the crash of a warm start tells: the engine had started cold, so the files that it found are to blame.

    Args:
        crash: of the engine.
        files: that it found, relative to the mount path, POSIX.
        mount_path: where they were.
    """
    if crash.reason != job.ENGINE_CRASHED:
        return crash
    named = [path for path in files if re.search(rf"/{re.escape(path)}(?![\w.-])", crash.message)]
    blamed = "".join(f"; that is {path} of {_layer(path)}, below {mount_path} here" for path in named[:1])
    return AttemptError(
        job.WARM_START_FAILED,
        f"Miss: the engine starts without a bundle, but not from its own: {crash.message}{blamed}",
    )


def _layer(path: str) -> str:
    layer = layer_of(path)
    return layer.name if layer else "no layer"


def last_error(lines: Sequence[str]) -> str:
    """The most telling line: the last error that is more than news of another process, else the last line."""
    texts = [_PREFIX.sub("", line).strip() for line in lines]
    errors = [text for text in texts if _ERROR.match(text)]
    causes = [text for text in errors if not _GENERIC.search(text)]
    spoken = [text for text in texts if text]
    candidates = causes[-1:] or errors[-1:] or spoken[-1:] or ["it printed nothing"]
    return _with_detail(texts, candidates[0])[:500]


def _with_detail(texts: Sequence[str], error: str) -> str:
    """Pydantic puts what it rejects on the lines after the error's own."""
    if "validation error" not in error:
        return error
    start = len(texts) - 1 - list(reversed(texts)).index(error)
    return " ".join(text for text in texts[start : start + 3] if text)


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
