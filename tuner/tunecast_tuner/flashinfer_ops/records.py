"""What passes between a rank and the process that runs FlashInfer's operators for it: files of JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tunecast_tuner.flashinfer_ops.table import Problem


@dataclass(frozen=True, slots=True)
class Request:
    """What to run."""

    mode: Literal["Tune", "Replay", "Place"]
    command: tuple[str, ...]  # the engine's serving command line
    cache: str  # path of the autotune file: written by Tune, read by Replay
    problems: tuple[Problem, ...] = ()  # of Replay; Tune takes them from the model


@dataclass(frozen=True, slots=True)
class Lacking:
    """An operator that can't run here."""

    problem: Problem
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What became of it."""

    metadata: dict[str, str] = field(default_factory=dict)  # FlashInfer's own facts of this place
    problems: tuple[Problem, ...] = ()  # that ran
    lacking: tuple[Lacking, ...] = ()
    mismatches: tuple[str, ...] = ()  # why the file was not loaded, in words
    entries: int = 0  # of the file
    hits: int = 0  # of the replay, one for each operator, shape and number of tokens
    misses: int = 0
    tactics: dict[str, Any] = field(default_factory=dict)  # what the replay ran: operator and shapes -> runner, tactic
    seconds: dict[str, float] = field(default_factory=dict)  # import, jit, tuning, load, replay
    place: str | None = None  # of Place: the directory where this engine looks for such files
    place_unknown: str = ""  # or why that isn't known
