"""StartupCache: a snapshot of all that shapes one tuning Job, made once by the operator."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunecast_operator.api.engine import EngineSettings
from tunecast_operator.api.inference_deployment import LayerName, SweepReference
from tunecast_operator.api.kubernetes_types import of
from tunecast_operator.api.model import (
    Duration,
    Model,
    Object,
    ruled,
    rules,
    seconds,
)


class StartupCacheSpec(Model):
    """Made by the operator and never changed: another one is made instead."""

    model_config = ruled(
        rules(("self == oldSelf", "a StartupCache never changes: raise tuning.generation to tune again"))
    )
    key: str = Field(
        pattern=r"^[a-z2-7]{52}$", description="Digest of everything that decides whether the bundle fits a pod."
    )
    key_version: int = Field(ge=1, description="Which meaning of the key it was computed with.")
    model: str = Field(min_length=1, max_length=4096, description="Model that the engine serves.")
    template: Object = Field(
        description="Pod of a rank, before Tunecast adds its entry point, tools and volumes.",
        json_schema_extra=of("PodTemplateSpec"),
    )
    engine: EngineSettings = Field(
        default_factory=EngineSettings, description="What the pod template can't tell of its engine."
    )
    workload: Literal["Engine", "Operators"] = Field(default="Engine", description="What a rank runs.")
    ranks: int = Field(default=1, ge=1, le=64, description="Pods of the Job.")
    generation: int = Field(default=1, ge=1, description="Of the tuning.")
    timeout: Duration = Field(default="60m", description="Of all attempts together, from when ranks first run.")
    queue_timeout: Duration = Field(default="10m", description="Of waiting for capacity before replicas start cold.")
    attempts: int = Field(default=3, ge=1, le=10, description="Crashes after which tuning gives up.")
    sweep: SweepReference | None = Field(default=None, description="Extra requests.")
    exclude_layers: list[LayerName] = Field(
        default_factory=list, max_length=32, description="Layers that are left out."
    )

    @property
    def timeout_seconds(self) -> float:
        return seconds(self.timeout)

    @property
    def queue_timeout_seconds(self) -> float:
        return seconds(self.queue_timeout)
