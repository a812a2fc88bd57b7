"""The engine's whole serving command line: the same in replicas, in ranks and in the key."""

from __future__ import annotations

from typing import Protocol

from tunecast_operator.api.inference_deployment import EngineSettings, ModelReference, Parallelism

MODEL = "$(MODEL)"


class _Serving(Protocol):
    @property
    def engine(self) -> EngineSettings: ...
    @property
    def model(self) -> ModelReference: ...
    @property
    def parallelism(self) -> Parallelism: ...


def command_line(spec: _Serving) -> list[str]:
    """The command with the model's name, the user's arguments, and what the spec says besides, unless they say it."""
    command = list(spec.engine.command)
    named = [part.replace(MODEL, spec.model.name) for part in command]
    begin = named if named != command else [*command, spec.model.name]
    return [*begin, *spec.engine.args, *_added(spec)]


def _added(spec: _Serving) -> list[str]:
    wanted = {
        "--port": (spec.engine.port, 8000),
        "--revision": (spec.model.revision, "main"),
        "--tensor-parallel-size": (spec.parallelism.tensor, 1),
        "--pipeline-parallel-size": (spec.parallelism.pipeline, 1),
        "--data-parallel-size": (spec.parallelism.data, 1),
    }
    given = {argument.split("=", 1)[0] for argument in [*spec.engine.command, *spec.engine.args]}
    return [f"{flag}={value}" for flag, (value, default) in wanted.items() if value != default and flag not in given]
