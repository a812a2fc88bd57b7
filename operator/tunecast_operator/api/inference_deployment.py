"""InferenceDeployment: what a user asks for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunecast_cache.layers import LAYERS
from tunecast_operator.api.engine import EngineSettings
from tunecast_operator.api.kubernetes_types import list_of, of
from tunecast_operator.api.model import (
    NAME,
    Duration,
    LabelValue,
    Model,
    Object,
    ruled,
    rules,
)
from tunecast_operator.api.pod_template import ENGINE_RULES, OWN_NAMES, TEMPLATE

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
        description="Labels of ranks and of their Job, such as kueue.x-k8s.io/queue-name. Ranks have no labels of the "
        "pod template, so that no Service, autoscaler or disruption budget counts them.",
        json_schema_extra=OWN_NAMES,
    )
    annotations: dict[str, Annotated[str, Field(max_length=65536)]] = Field(
        default_factory=dict,
        max_length=64,
        description="Annotations of ranks. They win over those of the pod template, and over Tunecast's defaults. The "
        "defaults keep meshes from injecting their proxies into ranks, and autoscalers from disrupting them.",
        json_schema_extra=OWN_NAMES,
    )


class RankPod(Model):
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=64,
        description="Labels of nodes that ranks run on, which are added to those of the pod template.",
    )
    tolerations: list[Object] = Field(
        default_factory=list,
        max_length=64,
        description="Tolerations of ranks, which are added to those of the pod template.",
        json_schema_extra=list_of("Toleration", {}),
    )
    priority_class_name: str | None = Field(
        default=None, max_length=253, description="Priority class of ranks, in place of that of the pod template."
    )


class RankTemplate(Model):
    metadata: RankMetadata = Field(default_factory=RankMetadata, description="Labels and annotations of ranks.")
    spec: RankPod = Field(default_factory=RankPod, description="How ranks are scheduled.")


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
    sweep: SweepReference | None = Field(
        default=None, description="Extra requests to send to the engine before its caches are captured."
    )
    template: RankTemplate = Field(
        default_factory=RankTemplate,
        description="What ranks, the pods of the tuning Job, have otherwise than the pod template says.",
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


class InferenceDeploymentSpec(Model):
    """A fleet of replicas of one vLLM pod that start warm."""

    model_config = ruled(ENGINE_RULES)
    replicas: int | None = Field(
        default=None,
        ge=0,
        le=10000,
        description="Serving pods. Absent: the Deployment's own value is kept, so that it can be scaled itself. An "
        "autoscaler of this object needs a number to begin with.",
    )
    template: Object = Field(
        description="The pod of a replica, as in a Deployment's spec.template. Replicas get it unchanged, but for an "
        "init container, the cache's volumes and variables, and a startup probe where it has none.",
        json_schema_extra=TEMPLATE,
    )
    engine: EngineSettings = Field(
        default_factory=EngineSettings, description="What the pod template can't tell of its engine."
    )
    strategy: Object = Field(
        default_factory=dict,
        description="How the Deployment replaces replicas.",
        json_schema_extra=of("DeploymentStrategy"),
    )
    tuning: Tuning = Field(default_factory=Tuning, description="How the cache is made.")
    cache: CacheSettings = Field(default_factory=CacheSettings, description="How replicas get it.")


__all__ = [
    "CacheSettings", "EngineSettings", "InferenceDeploymentSpec", "LayerName", "RankTemplate", "SweepReference",
    "Tuning",
]  # fmt: skip
