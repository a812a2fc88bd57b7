"""The engine's whole serving command line: the same in replicas, in ranks and in the key."""

from __future__ import annotations

from typing import Protocol

from tunecast_cache.command_line import read, variables
from tunecast_cache.errors import CommandLineError
from tunecast_cache.listen import Listen, listen
from tunecast_operator.api.engine import EngineSettings, ModelReference, Parallelism

MODEL = "$(MODEL)"


class _Serving(Protocol):
    @property
    def engine(self) -> EngineSettings: ...
    @property
    def model(self) -> ModelReference: ...
    @property
    def parallelism(self) -> Parallelism: ...


def command_line(spec: _Serving) -> list[str]:
    """The command, the model's name, the arguments, and what the spec says besides.

    The name takes the place of ``$(MODEL)``, wherever that is; without one it follows the command.
    """
    command, args = spec.engine.command, spec.engine.args
    placed = any(MODEL in part for part in [*command, *args])
    line = [*command, *args] if placed else [*command, MODEL, *args]
    return [part.replace(MODEL, spec.model.name) for part in line] + _added(spec)


def listening(spec: _Serving) -> Listen:
    """Where the engine serves, and how; where its command line can't be read, as an engine does by default."""
    try:
        return listen(read(command_line(spec), environment=variables(spec.engine.env)))
    except CommandLineError:
        return Listen()


def _added(spec: _Serving) -> list[str]:
    """Flags that the spec's fields stand for, where they differ from the engine's defaults and aren't given already.

    A rule of the CRD holds given ones to their fields.
    """
    wanted = {
        "--port": (spec.engine.port, 8000),
        "--revision": (spec.model.revision, "main"),
        "--tensor-parallel-size": (spec.parallelism.tensor, 1),
        "--pipeline-parallel-size": (spec.parallelism.pipeline, 1),
        "--data-parallel-size": (spec.parallelism.data, 1),
    }
    given = {argument.split("=", 1)[0] for argument in [*spec.engine.command, *spec.engine.args]}
    return [f"{flag}={value}" for flag, (value, default) in wanted.items() if value != default and flag not in given]
