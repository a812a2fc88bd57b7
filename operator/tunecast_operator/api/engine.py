"""What a pod template can't tell of its engine."""

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
        description="Name of the container that runs vLLM. Default: the only container; of several, the one that asks "
        "for an accelerator.",
    )
    entrypoint: list[Argument] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="ENTRYPOINT of the image, such as [vllm, serve], where the container has no command. Ranks of the "
        "tuning Job start the engine by it. Default: that of a well-known image, such as vllm/vllm-openai.",
    )
