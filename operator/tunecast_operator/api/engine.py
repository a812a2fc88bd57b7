"""Settings of the engine that a pod template doesn't contain."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tunecast_operator.api.model import Model

Argument = Annotated[str, Field(max_length=4096)]


class EngineSettings(Model):
    container: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        description="Name of the container that runs vLLM. The default is the only container, or, where the pod has "
        "several, the one that asks for an accelerator.",
    )
    entrypoint: list[Argument] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="ENTRYPOINT of the container's image, such as [vllm, serve]. It is needed where the container "
        "has no command, since the operator does not read images: ranks start the engine with these words and the "
        "container's args. For images such as vllm/vllm-openai, the default is their ENTRYPOINT. It has no effect "
        "where the container has a command.",
    )
