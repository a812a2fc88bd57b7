"""Records that a rank and the process of its FlashInfer operators exchange as JSON files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tunecast_tuner.flashinfer_ops.table import Problem


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the rank."""

    mode: Literal["Tune", "Replay", "Locate"]
    command: tuple[str, ...]  # the engine's serving command line
    cache: str  # path of the autotune file, which Tune writes and Replay reads
    problems: tuple[Problem, ...] = ()  # only for Replay; Tune derives them from the model


@dataclass(frozen=True, slots=True)
class Lacking:
    """An operator that can't run here."""

    problem: Problem
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a request."""

    metadata: dict[str, str] = field(default_factory=dict)  # metadata that FlashInfer reports here
    problems: tuple[Problem, ...] = ()  # problems that ran
    lacking: tuple[Lacking, ...] = ()
    mismatches: tuple[str, ...] = ()  # reasons why the file was not loaded
    entries: int = 0  # number of entries in the file
    hits: int = 0  # look-ups of the replay: one for each operator, shape and number of tokens
    misses: int = 0
    tactics: dict[str, Any] = field(default_factory=dict)  # of the replay: operator and shapes -> runner, tactic
    seconds: dict[str, float] = field(default_factory=dict)  # by phase: import, jit, tuning, load, replay
    directory: str | None = None  # only for Locate: the directory where this engine looks for autotune files
    directory_problem: str = ""  # only for Locate: why the directory is unknown
