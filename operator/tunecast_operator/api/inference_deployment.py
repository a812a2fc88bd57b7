"""InferenceDeployment: what a user asks for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunecast_cache.layers import LAYERS
from tunecast_operator.api.engine import (
    EngineSettings,
    ModelReference,
    Parallelism,
    agrees,
    reachable,
    same_number,
    same_text,
)
from tunecast_operator.api.kubernetes_types import of
from tunecast_operator.api.model import (
    NAME,
    Duration,
    LabelValue,
    Model,
    Object,
    ruled,
    rules,
)
from tunecast_operator.api.pod import OWN_NAMES, RESOURCES, AnnotationValue, PodSettings

LayerName = Annotated[str, Field(json_schema_extra={"enum": [layer.name for layer in LAYERS]})]


class SweepReference(Model):
    name: str = Field(pattern=NAME, max_length=253, description="A ConfigMap in this namespace.")
    key: str = Field(
        default="sweep.jsonl",
        min_length=1,
        max_length=253,
        description="The key in it: requests, a JSON object a line. They go to the route that the engine serves: "
        "/v1/completions where it generates.",
    )


class RankMetadata(Model):
    labels: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=64,
        description="Labels of ranks and of their Job, such as the name of a Kueue queue.",
        json_schema_extra=OWN_NAMES,
    )
    annotations: dict[str, AnnotationValue] = Field(
        default_factory=dict,
        max_length=64,
        description="Annotations of ranks. They win over pod.annotations, and over Tunecast's defaults, which keep "
        "meshes from injecting their proxies into ranks, and autoscalers from disrupting them.",
        json_schema_extra=OWN_NAMES,
    )


class RankTemplate(Model):
    metadata: RankMetadata = Field(default_factory=RankMetadata, description="Labels and annotations.")


class Tuning(Model):
    policy: Literal["TuneFirst", "ServeWhileTuning", "Never"] = Field(
        default="TuneFirst",
        description="TuneFirst: replicas wait for the cache. ServeWhileTuning: they start cold meanwhile. Never: "
        "nothing is tuned.",
    )
    workload: Literal["Engine", "Operators"] = Field(
        default="Engine",
        description="Engine: start vLLM itself. Operators: FlashInfer's operators at the model's shapes, without it.",
    )
    ranks: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Pods of the tuning Job. With peers, the proof is made on another pod than the cache.",
    )
    generation: int = Field(
        default=1,
        ge=1,
        le=1000000,
        description="Part of the key: raise it to tune again.",
        json_schema_extra=rules(("self >= oldSelf", "tuning.generation can't go down: raise it to tune again")),
    )
    timeout: Duration = Field(
        default="60m",
        description="How long all attempts together may take, from when ranks first run; then replicas start cold.",
    )
    queue_timeout: Duration = Field(
        default="10m",
        description="How long to wait for capacity; then replicas start cold, and tuning goes on waiting.",
    )
    attempts: int = Field(
        default=3, ge=1, le=10, description="Crashes after which tuning gives up. Disruptions aren't counted."
    )
    template: RankTemplate = Field(
        default_factory=RankTemplate, description="What the pods of ranks alone have. It is not part of the key."
    )
    sweep: SweepReference | None = Field(
        default=None, description="Extra requests to send to the engine before its caches are captured."
    )


class SecretReference(Model):
    name: str = Field(pattern=NAME, max_length=253, description="A Secret in this namespace.")


class LayerSettings(Model):
    exclude: list[LayerName] = Field(
        default_factory=list,
        max_length=32,
        description="Layers to leave out.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class CacheSettings(Model):
    credentials_secret: SecretReference | None = Field(
        default=None,
        description="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, read-only, for init containers. Absent: the identity "
        "of the pods' service account.",
    )
    layers: LayerSettings = Field(default_factory=LayerSettings, description="Which layers take part.")
    on_failure: Literal["ServeCold", "Block"] = Field(
        default="ServeCold",
        description="What a replica does without a bundle. ServeCold: start with an empty cache. Block: wait for one.",
    )


_AGREE = rules(
    agrees("engine.port", same_number("self.engine.port"), "--port"),
    agrees("model.revision", same_text("self.model.revision"), "--revision"),
    agrees("model.name", same_text("'$(MODEL)'"), "--model"),
    agrees("parallelism.tensor", same_number("self.parallelism.tensor"), "--tensor-parallel-size", "-tp"),
    agrees("parallelism.pipeline", same_number("self.parallelism.pipeline"), "--pipeline-parallel-size", "-pp"),
    agrees("parallelism.data", same_number("self.parallelism.data"), "--data-parallel-size", "-dp"),
    *reachable(),
    field=".engine.args",
)


class InferenceDeploymentSpec(Model):
    """A fleet of replicas of one model that start warm."""

    model_config = ruled(_AGREE)
    replicas: int | None = Field(
        default=None,
        ge=0,
        le=10000,
        description="Serving pods. Absent: the Deployment's own value is kept, so that it can be scaled itself. An "
        "autoscaler of this object needs a number to begin with.",
    )
    model: ModelReference = Field(description="What is served.")
    engine: EngineSettings = Field(description="How it is served.")
    accelerator: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        description="The GPU, as in the node label nvidia.com/gpu.product. Part of the key, and a node affinity of "
        "replicas and ranks.",
    )
    parallelism: Parallelism = Field(default_factory=Parallelism, description="How one replica is spread over GPUs.")
    resources: Object = Field(
        default_factory=dict, description="The engine container's requests and limits.", json_schema_extra=RESOURCES
    )
    pod: PodSettings = Field(default_factory=PodSettings, description="What else the pods of replicas and ranks need.")
    strategy: Object = Field(
        default_factory=dict,
        description="How the Deployment replaces replicas.",
        json_schema_extra=of("V1DeploymentStrategy"),
    )
    tuning: Tuning = Field(default_factory=Tuning, description="How the cache is made.")
    cache: CacheSettings = Field(default_factory=CacheSettings, description="How replicas get it.")


__all__ = [
    "CacheSettings", "EngineSettings", "InferenceDeploymentSpec", "LayerName", "ModelReference", "Parallelism",
    "PodSettings", "RankTemplate", "SweepReference", "Tuning",
]  # fmt: skip
