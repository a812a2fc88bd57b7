"""What an engine's log says about where its start went. Pure: lines in, seconds by phase out."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence

from tunecast_cache.manifest import Start

Line = tuple[float, str]  # seconds since the process started, text

# The time since the milestone before such a line belongs to its phase; what no line claims is "other".
MILESTONES = tuple(
    (re.compile(pattern), phase)
    for pattern, phase in (
        (r"non-default args:", "import"),
        (r"Resolved architecture:", "inspect"),  # a subprocess that imports the model, unless modelinfos are cached
        (r"Initializing a V1 LLM engine", "import"),  # in a process of its own, which imports everything again
        (r"distributed_init_method=", "import"),  # and so does each worker
        (r"Starting to load model", "other"),
        (r"Loading weights took|Initializing model took|Model loading took", "weights"),
        (r"Warming up model for the compilation", "other"),
        (r"Using cache directory: .* for vLLM's torch.compile|Dynamo bytecode transform time", "compile"),
        (r"Cache the graph of compile range|Compiling a graph for|Compiling model again", "compile"),
        (r"Directly load |saved AOT compiled function|torch\.compile took", "compile"),
        (r"Warming up done", "compile"),
        (r"Initial profiling/warmup run took", "other"),
        # FlashInfer builds its kernels here without a word, if it builds them.
        (r"Profiling CUDA graph memory|Available KV cache memory", "jit"),
        (r"Estimated CUDA graph memory", "graphs"),
        (r"Autotuning process starts", "other"),
        (r"Autotuning process ends", "tuning"),
        (r"profiler disabled for CUDA graph capture", "jit"),  # the other kernels' warm-up
        (r"Graph capturing finished", "graphs"),
        (r"init engine \(", "other"),
    )
)
PHASES = ("import", "inspect", "weights", "compile", "jit", "tuning", "graphs", "other")
INIT = re.compile(r"init engine \(.*?\) took ([\d.]+) s")
_PRINTED = re.compile(r"(?:\d{4}-)?(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:,(\d{3}))?")


def read(lines: Iterable[Line], total_seconds: float) -> Start:
    """One start, from its log.

    Args:
        lines: what it printed until it was healthy, with times in seconds since the process started.
        total_seconds: from the process's start to ``/health``; the phases add up to it.
    """
    phases = dict.fromkeys(PHASES, 0.0)
    init: float | None = None
    before = 0.0
    for seconds, text in lines:
        if seconds > total_seconds:
            break
        phase = next((phase for pattern, phase in MILESTONES if pattern.search(text)), None)
        if phase is None:
            continue
        phases[phase] += seconds - before
        before = seconds
        if found := INIT.search(text):
            init = float(found[1])
    phases["other"] += total_seconds - before
    return Start(round(total_seconds, 3), init, phases={name: round(value, 3) for name, value in phases.items()})


def engine_words(lines: Iterable[Line], patterns: Sequence[str]) -> str:
    """The first thing that the engine said that matches one of ``patterns``, or nothing."""
    compiled = [re.compile(pattern) for pattern in patterns]
    found = (match for _, text in lines for pattern in compiled if (match := pattern.search(text)))
    return next((match[0][:300] for match in found), "")


def printed_seconds(texts: Iterable[str]) -> list[Line]:
    """Times for a log that was kept without them, from the stamps that it prints, counted from the first one.

    A line without a stamp has the time of the line before.
    """
    lines: list[Line] = []
    first: dt.datetime | None = None
    seconds = 0.0
    for text in texts:
        if stamp := _PRINTED.search(text):
            month, day, hour, minute, second, milli = (int(part or 0) for part in stamp.groups())
            now = dt.datetime(2000, month, day, hour, minute, second, milli * 1000)  # noqa: DTZ001 - differences only
            first = first or now
            seconds = max(seconds, (now - first).total_seconds())
        lines.append((seconds, text))
    return lines
