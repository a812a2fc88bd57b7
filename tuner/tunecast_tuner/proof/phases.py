"""What an engine's log says about where its start went. Pure: lines in, seconds by phase out.

A line that prints a duration claims exactly that time before it. What is left between two lines belongs to what the
engine was doing by its own words, else it is "other": nobody's.
"""

from __future__ import annotations

import bisect
import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunecast_core.records.manifest import Start

Line = tuple[float, str]  # seconds since the process started, text
Span = tuple[float, float]  # begin and end, in the same

OTHER = "other"
PHASES = (
    "import", "inspect", "wait", "distributed", "download", "weights", "compile", "profile", "jit", "tuning", "graphs",
    "warmup", OTHER,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Milestone:
    """A line of vLLM's.

    Attributes:
        pattern: with one group where it prints how many seconds it took.
        phase: of that duration; without one, of all the time since the milestone before. None: as what was begun.
        begins: what the time after it is, until a line says otherwise; None: as before.
    """

    pattern: re.Pattern[str]
    phase: str | None
    begins: str | None = None


def _seconds(text: str) -> float:
    """Of 7.5, 1:05 or 1:00:05."""
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _took(words: str, unit: str = r" ?\[?s") -> str:
    """A pattern of ``words`` that are followed by seconds, next to them or with some other figures between."""
    return rf"(?:{words}).*?\b(\d+(?:\.\d+)?){unit}"


# The first that matches counts.
MILESTONES = tuple(
    Milestone(re.compile(pattern), phase, begins)
    for pattern, phase, begins in (
        (r"non-default args:", "import", OTHER),
        # A subprocess that imports the model, unless modelinfos are cached; before vLLM 0.10 another line says so.
        (r"Resolved architecture:|This model supports multiple tasks", "inspect", OTHER),
        (r"[Cc]reating a new placement group|[Cc]reating placement group", None, "wait"),
        (r"Waiting for creating a placement group", "wait", "wait"),
        (r"Actor pid=.*Initializing a V\d LLM engine", "wait", OTHER),  # Ray had to find a node and start an actor
        (r"Initializing an? (?:V\d )?LLM engine", "import", OTHER),  # in a process of its own, which imports all again
        (r"Ray\w* pid=.*distributed_init_method=", None, "distributed"),
        (r"distributed_init_method=", "import", "distributed"),  # and so does each worker
        (r"rank \d+ in world size \d+ is assigned", "distributed", OTHER),
        (r"Starting to load model|Loading model from scratch", None, "weights"),
        (_took(r"Time spent downloading weights"), "download", None),
        # A progress bar of the hub's that came to its end: minutes and seconds, maybe hours.
        (r"(?:\.\w+|Fetching \d+ files|Downloading.*): +100%\|.*\[((?:\d+:)?\d+:\d+)<", "download", None),
        (_took(r"(?:Loading (?:model )?weights|Loading drafter model|Initializing model) took"), "weights", None),
        (_took(r"Online quantization .* took|Prefetching checkpoint files .* finished in"), "weights", None),
        (_took(r"Model loading took"), "weights", OTHER),
        (r"Loading model weights took", "weights", OTHER),  # before vLLM 0.8, without a duration
        (r"Warming up model for the compilation", None, "compile"),
        (_took(r"Dynamo bytecode transform time"), "compile", None),
        (_took(r"Directly load the compiled graph.* took|Compil(?:ing|ed) a graph .* takes?"), "compile", None),
        (_took(r"Saved compiler manager cache in|Finished XLA compilation .* in"), "compile", None),
        (_took(r"Compilation finished in"), "compile", None),  # on TPUs
        (_took(r"torch\.compile and initial profiling/warmup run together took"), "compile", "profile"),
        (_took(r"torch\.compile (?:took|takes)"), "compile", "profile"),
        (r"Using cache directory: .* for vLLM's torch.compile|Cache the graph", "compile", None),
        (r"Compiling model again|Directly load |saved AOT compiled function", "compile", None),
        (r"Warming up done", "compile", OTHER),
        # Kernels are built at their first run; FlashInfer builds its own then, and after it, without a word.
        (_took(r"Initial profiling/warmup run took"), "jit", "jit"),
        (_took(r"Memory profiling takes"), "profile", OTHER),
        (r"Profiling CUDA graph memory", None, "graphs"),
        (r"Estimated CUDA graph memory", "graphs", OTHER),
        (r"Available KV cache memory|reserved .* memory for KV Cache|KV cache size:", None, OTHER),
        (_took(r"finish build \[\w+\], cost|JIT kernel warmup finished in|Built .* kernel.* in"), "jit", None),
        (r"Finished loading JIT ops", "jit", None),
        (_took(r"autotune ready: .* elapsed="), "tuning", None),
        (r"Autotuning process starts", None, "tuning"),
        (r"Autotuning process ends", "tuning", OTHER),
        (r"profiler disabled for CUDA graph capture", "jit", OTHER),  # the other kernels' warm-up
        (_took(r"[Gg]raph capturing finished in|Warmup finished in"), "graphs", None),  # the latter on HPUs
        (r"Kernel JIT monitor activated", "jit", OTHER),
        (r"init engine \(", None, OTHER),
        (_took(r"warmup completed in"), "warmup", None),  # of multimodal processors and chat templates
    )
)
INIT = re.compile(r"init engine \(.*?\) took ([\d.]+) s")
_FLASHINFER = re.compile(r"\bUsing flashinfer\b", re.IGNORECASE)
_PRINTED = re.compile(r"(?:\d{4}-)?(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:,(\d{3}))?")


def read(lines: Iterable[Line], total_seconds: float) -> Start:
    """One start, from its log.

    Args:
        lines: what it printed until it was healthy, with times in seconds since the process started.
        total_seconds: from the process's start to ``/health``; the phases add up to it.
    """
    timeline = _Timeline()
    init: float | None = None
    for seconds, text in lines:
        if seconds > total_seconds:
            break
        timeline.hear(seconds, text)
        if found := INIT.search(text):
            init = float(found[1])
    phases = timeline.phases(total_seconds)
    return Start(round(total_seconds, 3), init, phases={name: round(value, 3) for name, value in phases.items()})


class _Timeline:
    """The time up to a line: what was claimed by durations, and what the rest was."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._claimed: list[Span] = []  # in their order, apart from each other
        self._rest: list[tuple[Span, str]] = []
        self._at = 0.0
        self._doing = OTHER
        self._flashinfer = False

    def hear(self, seconds: float, text: str) -> None:
        """Takes the next line."""
        self._flashinfer = self._flashinfer or _FLASHINFER.search(text) is not None
        for milestone in MILESTONES:
            if found := milestone.pattern.search(text):
                self._reach(seconds, milestone, _seconds(found[1]) if found.groups() else None)
                return

    def _reach(self, seconds: float, milestone: Milestone, took: float | None) -> None:
        phase = milestone.phase or self._doing
        if took is not None:
            self._seconds[phase] += self._claim((max(0.0, seconds - took), seconds))
        self._rest.append(((self._at, seconds), self._doing if took is not None else phase))
        self._at = seconds
        self._doing = milestone.begins or self._doing
        if self._doing == "profile" and self._flashinfer:
            self._doing = "jit"  # before vLLM 0.19 no line parts its build from the profiling run

    def _claim(self, span: Span) -> float:
        """Adds a span that ends no earlier than those before; returns how much of it was nobody's yet."""
        begin, end = span
        new = end - begin
        first = begin
        while self._claimed and self._claimed[-1][1] >= begin:
            other = self._claimed.pop()
            new -= max(0.0, min(other[1], end) - max(other[0], begin))
            first = min(first, other[0])
        self._claimed.append((first, end))
        return new

    def phases(self, total_seconds: float) -> dict[str, float]:
        """Seconds by phase; they add up to ``total_seconds``."""
        found = dict(self._seconds)
        ends = [end for _, end in self._claimed]
        for span, phase in [*self._rest, ((self._at, total_seconds), OTHER)]:
            found[phase] += _unclaimed(span, self._claimed[bisect.bisect_left(ends, span[0]) :])
        return found


def _unclaimed(span: Span, claimed: Iterable[Span]) -> float:
    """How much of ``span`` is in none of ``claimed``, which are in their order."""
    start, stop = span
    left = stop - start
    for begin, end in claimed:
        if begin >= stop:
            break
        left -= min(end, stop) - max(begin, start)
    return left


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
