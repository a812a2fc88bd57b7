"""The resource StartupCache: an immutable snapshot of everything that shapes one tuning Job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from tunecast_operator.api.engine import EngineSettings
from tunecast_operator.api.inference_deployment import LayerName, SweepReference, Workload
from tunecast_operator.api.kubernetes_types import of
from tunecast_operator.api.model import (
    HARDWARE,
    Duration,
    Model,
    Object,
    ruled,
    rules,
    seconds,
)
from tunecast_operator.api.status import StartupCacheStatus, State, read_status


class StartupCacheSpec(Model):
    """StartupCache describes one tuning and shows its bundle. The operator creates it; its spec is immutable."""

    model_config = ruled(
        rules(("self == oldSelf", "the spec of a StartupCache is immutable: raise tuning.generation to tune again"))
    )
    key: str = Field(
        pattern=r"^[a-z2-7]{52}$",
        description="Digest of everything that decides whether the bundle fits a pod, in 52 lower-case letters and "
        "digits.",
    )
    key_version: int = Field(ge=1, description="Version of the rules by which the key was computed.")
    model: str = Field(
        min_length=1, max_length=4096, description="Model that the engine serves, as its command line names it."
    )
    template: Object = Field(
        description="Pod template of a rank, before Tunecast adds its own entry point, tools and volumes.",
        json_schema_extra=of("PodTemplateSpec"),
    )
    engine: EngineSettings = Field(
        default_factory=EngineSettings, description="Facts about the engine that the pod template does not contain."
    )
    workload: Workload = Field(
        default="Engine",
        description="Program that ranks run: Engine for vLLM itself, Operators for the kernels that FlashInfer tunes.",
    )
    ranks: int = Field(default=1, ge=1, le=64, description="Number of pods of the tuning Job.")
    generation: int = Field(
        default=1,
        ge=1,
        description="Generation of the tuning: the value of spec.tuning.generation of the InferenceDeployment.",
    )
    timeout: Duration = Field(
        default="60m",
        description="Time that all attempts together may take, counted from the first start of a rank, such as 60m.",
    )
    queue_timeout: Duration = Field(
        default="10m",
        description="Time that tuning may wait for capacity in the cluster before replicas start cold, such as 10m.",
    )
    attempts: int = Field(
        default=3,
        ge=1,
        le=10,
        description="Number of failed attempts after which tuning gives up. Attempts that were disrupted aren't "
        "counted.",
    )
    sweep: SweepReference | None = Field(
        default=None, description="Further requests that ranks send to the engine before its caches are captured."
    )
    hardware: str | None = Field(
        default=None,
        pattern=HARDWARE,
        description="Hardware that ranks must run on, such as nvidia-h100-80gb-hbm3-x86-64. Without a value, ranks run "
        "where the scheduler places them, and status.hardware names that hardware.",
    )
    exclude_layers: list[LayerName] = Field(
        default_factory=list, max_length=32, description="Layers that the bundle leaves out."
    )

    @property
    def timeout_seconds(self) -> float:
        return seconds(self.timeout)

    @property
    def queue_timeout_seconds(self) -> float:
        return seconds(self.queue_timeout)


@dataclass(frozen=True, slots=True)
class StartupCache:
    """The parts of a StartupCache that plans read."""

    name: str
    key: str
    created: str  # RFC 3339
    deleting: bool
    status: StartupCacheStatus
    asked_hardware: str = ""  # spec.hardware; empty where the scheduler chooses the hardware
    namespace: str = ""

    @property
    def identity(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def hardware(self) -> str:
        """Hardware that the bundle is for; empty until it is known."""
        return self.asked_hardware or self.status.hardware or ""

    @property
    def state(self) -> State:
        """Current phase of the StartupCache; Pending until its reconciler has written one."""
        return self.status.state or State.PENDING


def startup_cache(item: Mapping[str, Any]) -> StartupCache:
    """Reads a StartupCache as the API server returned it."""
    metadata = item["metadata"]
    return StartupCache(
        name=str(metadata["name"]),
        key=str(item["spec"]["key"]),
        created=str(metadata.get("creationTimestamp", "")),
        deleting=bool(metadata.get("deletionTimestamp")),
        status=read_status(StartupCacheStatus, item),
        asked_hardware=str(item["spec"].get("hardware") or ""),
        namespace=str(metadata.get("namespace", "")),
    )
