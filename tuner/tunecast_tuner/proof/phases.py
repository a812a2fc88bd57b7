"""Reads the seconds of each phase of a start from the engine's log. Pure.

A line with a duration claims exactly that time before it. The remaining time between two lines belongs to the phase
that the log says has begun, or else to the phase "other".
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
    """A log line of vLLM that begins or ends a phase.

    Attributes:
        pattern: regular expression; its group, if any, matches a duration.
        phase: phase of that duration, or without one, of the time since the previous milestone. None is the phase
            that has begun.
        begins: phase of the time that follows, until another milestone. None is the same phase as before.
    """

    pattern: re.Pattern[str]
    phase: str | None
    begins: str | None = None


def _seconds(text: str) -> float:
    """Parses a duration such as 7.5, 1:05 or 1:00:05."""
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _took(words: str, unit: str = r" ?\[?s") -> str:
    """Returns a pattern of ``words`` that are followed by seconds, directly or behind other figures."""
    return rf"(?:{words}).*?\b(\d+(?:\.\d+)?){unit}"


# The first match counts.
MILESTONES = tuple(
    Milestone(re.compile(pattern), phase, begins)
    for pattern, phase, begins in (
        (r"non-default args:", "import", OTHER),
        # A subprocess imports the model unless modelinfos are cached. The second line is of vLLM before 0.10.
        (r"Resolved architecture:|This model supports multiple tasks", "inspect", OTHER),
        (r"[Cc]reating a new placement group|[Cc]reating placement group", None, "wait"),
        (r"Waiting for creating a placement group", "wait", "wait"),
        (r"Actor pid=.*Initializing a V\d LLM engine", "wait", OTHER),  # Ray finds a node and starts an actor
        (r"Initializing an? (?:V\d )?LLM engine", "import", OTHER),  # a new process imports all modules again
        (r"Ray\w* pid=.*distributed_init_method=", None, "distributed"),
        (r"distributed_init_method=", "import", "distributed"),  # each worker imports all modules, too
        (r"rank \d+ in world size \d+ is assigned", "distributed", OTHER),
        (r"Starting to load model|Loading model from scratch", None, "weights"),
        (_took(r"Time spent downloading weights"), "download", None),
        # A completed progress bar of the hub, with minutes and seconds, and possibly hours.
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
        # Kernels are built at their first run. FlashInfer builds its kernels then and later, without a log line.
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
        (r"profiler disabled for CUDA graph capture", "jit", OTHER),  # warm-up of the other kernels
        (_took(r"[Gg]raph capturing finished in|Warmup finished in"), "graphs", None),  # the second line is of HPUs
        (r"Kernel JIT monitor activated", "jit", OTHER),
        (r"init engine \(", None, OTHER),
        (_took(r"warmup completed in"), "warmup", None),  # of multimodal processors and chat templates
    )
)
INIT = re.compile(r"init engine \(.*?\) took ([\d.]+) s")
_FLASHINFER = re.compile(r"\bUsing flashinfer\b", re.IGNORECASE)
_PRINTED = re.compile(r"(?:\d{4}-)?(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:,(\d{3}))?")


def read(lines: Iterable[Line], total_seconds: float) -> Start:
    """Reads one start from its log.

    Args:
        lines: lines of the log, with times in seconds since the process started.
        total_seconds: seconds from the process's start to the first answer of ``/health``, which is the sum of the
            phases.
    """
    timeline = _Timeline()
    init: float | None = None
    for seconds, text in lines:
        if seconds > total_seconds:
            break
        timeline.add(seconds, text)
        if found := INIT.search(text):
            init = float(found[1])
    phases = timeline.phases(total_seconds)
    return Start(round(total_seconds, 3), init, phases={name: round(value, 3) for name, value in phases.items()})


class _Timeline:
    """The time up to the current line: spans that durations claim, and the phases of the rest."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._claimed: list[Span] = []  # sorted and disjoint
        self._rest: list[tuple[Span, str]] = []
        self._at = 0.0
        self._doing = OTHER
        self._flashinfer = False

    def add(self, seconds: float, text: str) -> None:
        """Adds the next line."""
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
            self._doing = "jit"  # before vLLM 0.19, no line separates FlashInfer's build from the profiling run

    def _claim(self, span: Span) -> float:
        """Adds a span that ends no earlier than previous ones, and returns how much of it was unclaimed."""
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
        """Returns the seconds of each phase, whose sum is ``total_seconds``."""
        found = dict(self._seconds)
        ends = [end for _, end in self._claimed]
        for span, phase in [*self._rest, ((self._at, total_seconds), OTHER)]:
            found[phase] += _unclaimed(span, self._claimed[bisect.bisect_left(ends, span[0]) :])
        return found


def _unclaimed(span: Span, claimed: Iterable[Span]) -> float:
    """Returns how much of ``span`` is in none of the sorted spans ``claimed``."""
    start, stop = span
    left = stop - start
    for begin, end in claimed:
        if begin >= stop:
            break
        left -= min(end, stop) - max(begin, start)
    return left


def first_match(lines: Iterable[Line], patterns: Sequence[str]) -> str:
    """Returns the first text of the log that matches one of ``patterns``, or an empty string."""
    compiled = [re.compile(pattern) for pattern in patterns]
    found = (match for _, text in lines for pattern in compiled if (match := pattern.search(text)))
    return next((match[0][:300] for match in found), "")


def printed_seconds(texts: Iterable[str]) -> list[Line]:
    """Computes the times of lines from their printed time stamps, relative to the first one.

    A line without a time stamp has the time of the previous line.
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
