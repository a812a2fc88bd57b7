"""Diagnoses why an engine exited, from its exit status and the end of its log. Pure."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunecast_core.bundle.layers import layer_of
from tunecast_core.records import job
from tunecast_tuner.rank.failures import AttemptError

USAGE = 2  # argparse's exit status

_MEMORY = re.compile(
    r"\bOutOfMemoryError\b|CUDA out of memory|HIP out of memory|\bMemoryError\b|Cannot allocate memory"
    r"|DefaultCPUAllocator: can't allocate|No available memory for the cache blocks"
    r"|is less than desired GPU memory utilization|larger than the (?:available|maximum) KV cache memory"
    r"|error: out of memory|cudaErrorMemoryAllocation|died due to signal 9|Killed signal terminated program|^Killed$"
    r"|<Signals\.SIGKILL|signal SIGKILL|exit ?code:? (?:-9|137)\b|process pool was terminated abruptly"
)
# Errors that a retry can't fix: arguments, the model's name or files, a missing interpreter.
_REJECTED = re.compile(
    r": error: (?:argument|unrecognized|ambiguous|the following|one of the|expected)|unrecognized arguments"
    r"|ValidationError|invalid choice:|argument --"
    r"|invalid [\w ]+ parser|[Pp]arser .*not found|\(cho+se from"
    r"|RepositoryNotFoundError|GatedRepoError|gated repo|Repository Not Found"
    r"|is not a local folder and is not a valid model|RevisionNotFoundError|(?<!Local)EntryNotFoundError"
    r"|Can't load the configuration|No such model|does not recognize this architecture"
    r"|Model architectures .* not supported"
    r"|Invalid repository ID or local directory|does not appear to have a file named|HFValidationError"
    r"|No module named|can't open file|(?i:address already in use)"
    r"|is not supported|Unknown quantization method|is greater than the derived max_model_len|must be divisible by"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PROCESS = re.compile(r"^(?:\([^()]*\bpid=\d+[^()]*\)|\[rank\d+\]:)\s*")
_LEVEL = re.compile(
    r"^(?:(?:ERROR|CRITICAL|FATAL)[: ]\s*(?:[\d-]+ [\d:.,]+\s+)?(?:\[[^\]]*\] ?)?"
    r"|\d{4}-\d\d-\d\d [\d:,.]+ - (?:ERROR|CRITICAL) - (?:\S+ - )?(?:\S+: )?)"
)
_EXCEPTION = r"[\w.]*(?:Error|Exception|Interrupt|Exit|OutOfResources|BrokenProcessPool)\b"
_HARMLESS = re.compile(r"^(?:DEBUG|INFO|WARNING)\b")
_ERROR = re.compile(
    rf"^{_EXCEPTION}(?!\w).*|.*\berror\s*:.*"
    r"|^(?:Memory access fault by GPU|Fatal Python error|Segmentation fault|Bus error|Illegal instruction).*"
    r"|^(?:Aborted|Killed$|terminate called after|!+ Segfault encountered).*"
)
_BARE = re.compile(rf"^{_EXCEPTION}:?$")
_CHAINED = re.compile(r"The above exception was the direct cause|During handling of the above exception")
# Errors that only report the failure of another process. They are used only if there is no other error.
_GENERIC = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|Engine process failed to start"
    r"|EngineDeadError|EngineCore encountered an issue|Worker proc \S+ died|BrokenPipeError|ConnectionResetError"
    r"|Connection closed by peer|ncclRemoteError|^(?:EOFError|KeyboardInterrupt|SystemExit|CancelledError)\b"
    r"|\bcancelled$"
)
_CHILDREN = re.compile(r"Failed core proc\(s\): \{(.*?)\}")
_CHILD = re.compile(r"'([^']*)': (-?\d+)")
_KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}
_MESSAGES = ("message", "msg", "event", "log", "text", "exc_info", "exc_text", "exception", "error", "stack_info")


def diagnose(returncode: int, lines: Sequence[str], what: str = "the engine", oom_kills: int = 0) -> AttemptError:
    """Returns the error of a process that exited on its own or was killed.

    Args:
        returncode: exit status as in ``subprocess``, negative for a signal.
        lines: end of the output, oldest line first.
        what: name of the process in the message.
        oom_kills: number of processes that the kernel killed meanwhile because this container was out of memory.
    """
    texts = [text for line in lines for text in _unwrapped(line)]
    chain = _last_chain(texts)
    children, silent = _children(texts), _silent(texts, chain)
    error = _with_detail(texts, chain[-1])
    message = f"{what} {_how(returncode)}: {error[:500]}{_about(children, oom_kills, silent=silent)}"
    killed = returncode in _KILLED or oom_kills or any(code in _KILLED for code in children.values())
    if killed or any(_MEMORY.search(error) for error in chain) or silent:
        return AttemptError(job.ENGINE_OUT_OF_MEMORY, message)
    if returncode == USAGE or any(_REJECTED.search(error) for error in chain):
        return AttemptError(job.ENGINE_REJECTED, message)
    return AttemptError(job.ENGINE_CRASHED, message)


def refusal(crash: AttemptError, files: Iterable[str], mount_path: str) -> AttemptError:
    """Returns the error for a crash of a warm start. Since the engine started cold, the installed files are the cause.

    Args:
        crash: error of the engine's crash.
        files: installed files, as POSIX paths relative to the mount path.
        mount_path: directory of the files.
    """
    if crash.reason != job.ENGINE_CRASHED:
        return crash
    named = [path for path in files if re.search(rf"/{re.escape(path)}(?![\w.-])", crash.message)]
    blamed = "".join(f"; that is {path} of {_layer(path)}, below {mount_path} here" for path in named[:1])
    return AttemptError(
        job.WARM_START_FAILED,
        f"Miss: the engine starts without the bundle, but not with it: {crash.message}{blamed}",
    )


def _layer(path: str) -> str:
    layer = layer_of(path)
    return layer.name if layer else "no layer"


def _unwrapped(line: str) -> list[str]:
    """Returns the messages of a log line without colours, process names, level, time, and JSON."""
    text = _COLOUR.sub("", line).strip()
    while found := _PROCESS.match(text):
        text = text[found.end() :]
    if text.startswith("{") and text.endswith("}"):
        try:
            return [part.strip() for message in _messages(json.loads(text)) for part in message.splitlines()]
        except ValueError:
            pass
    return [_LEVEL.sub("", text).rstrip()]


def _messages(record: Any) -> Iterator[str]:
    """Yields the texts of a JSON log record, its message first."""
    if isinstance(record, dict):
        for name in sorted(record, key=lambda name: _MESSAGES.index(name) if name in _MESSAGES else len(_MESSAGES)):
            value = record[name]
            if isinstance(value, str) and (name in _MESSAGES or "\n" in value):
                yield value
            elif isinstance(value, dict):
                yield from _messages(value)


def _last_chain(texts: Sequence[str]) -> list[str]:
    """Returns the last specific error with the errors that led to it, or else a generic error or the last line."""
    chains: list[list[str]] = []
    chained = False
    for text in texts:
        if _CHAINED.search(text):
            chained = True
        elif _ERROR.match(text.strip()) and not _HARMLESS.match(text):
            if chained and chains:
                chains[-1].append(text.strip())
            else:
                chains.append([text.strip()])
            chained = False
    causes = [chain for chain in chains if not _GENERIC.search(chain[-1])]
    printed = [[text.strip()] for text in texts if text.strip()]
    return [*causes[-1:], *chains[-1:], *printed[-1:], ["it printed nothing"]][0]


def _silent(texts: Sequence[str], chain: Sequence[str]) -> bool:
    """Whether a process of the engine ended without an error and without a status, as when the kernel kills it."""
    children = [found[1] for text in texts if (found := _CHILDREN.search(text))]
    return bool(children) and not children[-1] and _GENERIC.search(chain[-1]) is not None


def _children(texts: Sequence[str]) -> dict[str, int]:
    """Returns the exit status of each process that vLLM reports as failed."""
    pairs = (pair for text in texts if (found := _CHILDREN.search(text)) for pair in _CHILD.findall(found[1]))
    return {name: int(code) for name, code in pairs}


def _about(children: Mapping[str, int], oom_kills: int, *, silent: bool) -> str:
    """Returns further details of the end for the message."""
    ended = [f"{name} {_how(code)}" for name, code in children.items() if code < 0 or code in _KILLED]
    kills = [f"the kernel killed {oom_kills} of its processes, as the container was out of memory"] if oom_kills else []
    died = ["one of its processes ended without a status, as when the kernel kills it for memory"] if silent else []
    return "".join(f"; {detail}" for detail in [*ended, *(kills or died)])


def _with_detail(texts: Sequence[str], error: str) -> str:
    """Returns an error with details from neighbouring lines.

    Pydantic prints below the error what it rejects, and some errors have no message.
    """
    stripped = [text.strip() for text in texts]
    if error not in stripped:
        return error
    at = len(stripped) - 1 - stripped[::-1].index(error)
    if "validation error" in error:
        return " ".join(text for text in stripped[at : at + 3] if text)
    if _BARE.match(error):  # the lines before show the statement that raised it, and its location
        before = [text for text in stripped[max(0, at - 3) : at] if text and not set(text) <= set("^~ ")]
        return f"{error}: {' <- '.join(reversed(before[-2:]))}" if before else error
    return error


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
