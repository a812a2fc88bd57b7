"""The resource InferenceDeployment: the spec that users write."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from tunecast_core.bundle.layers import LAYERS
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
Workload = Literal["Engine", "Operators"]  # as JobSettings has it


class TuningPolicy(StrEnum):
    """Order of tuning and serving."""

    TUNE_FIRST = "TuneFirst"
    SERVE_WHILE_TUNING = "ServeWhileTuning"
    NEVER = "Never"


class OnFailure(StrEnum):
    """Behaviour of a replica that gets no bundle."""

    SERVE_COLD = "ServeCold"
    BLOCK = "Block"


class SweepReference(Model):
    name: str = Field(
        pattern=NAME, max_length=253, description="Name of a ConfigMap in the namespace of the InferenceDeployment."
    )
    key: str = Field(
        default="sweep.jsonl",
        min_length=1,
        max_length=253,
        description="Key of the ConfigMap whose value holds the requests: one JSON object in each line. Ranks send "
        "each object as the body of a request to the route that the engine serves, which is /v1/completions for a "
        "model that generates text. The default is sweep.jsonl.",
    )


class RankMetadata(Model):
    labels: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=64,
        description="Labels of ranks and of their Job, such as kueue.x-k8s.io/queue-name. Ranks have none of the "
        "labels of the pod template, so that no Service, autoscaler or disruption budget selects them.",
        json_schema_extra=OWN_NAMES,
    )
    annotations: dict[str, Annotated[str, Field(max_length=65536)]] = Field(
        default_factory=dict,
        max_length=64,
        description="Annotations of ranks. They take precedence over annotations of the pod template and over "
        "Tunecast's defaults. The defaults keep service meshes from injecting their proxies into ranks, and "
        "autoscalers from disrupting ranks.",
        json_schema_extra=OWN_NAMES,
    )


class RankPod(Model):
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=64,
        description="Labels that a node must have for ranks to run on it. They are added to the nodeSelector of the "
        "pod template.",
    )
    tolerations: list[Object] = Field(
        default_factory=list,
        max_length=64,
        description="Tolerations of ranks. They are added to the tolerations of the pod template.",
        json_schema_extra=list_of("Toleration", {}),
    )
    priority_class_name: str | None = Field(
        default=None,
        max_length=253,
        description="Name of the priority class of ranks. It replaces the priority class of the pod template, which "
        "is the default.",
    )


class RankTemplate(Model):
    metadata: RankMetadata = Field(
        default_factory=RankMetadata,
        description="Labels and annotations of ranks alone. Changing them starts no new tuning of a key that has a "
        "bundle.",
    )
    spec: RankPod = Field(
        default_factory=RankPod,
        description="Scheduling of ranks alone. Changing it starts no new tuning of a key that has a bundle.",
    )


class Tuning(Model):
    policy: TuningPolicy = Field(
        default=TuningPolicy.TUNE_FIRST,
        description="Order of tuning and serving. With TuneFirst, which is the default, new replicas wait until the "
        "StartupCache is ready or has failed, and replicas of an earlier spec go on serving. With ServeWhileTuning, "
        "replicas start cold until the StartupCache is ready. With Never, nothing is tuned, and replicas use a "
        "bundle of the same key if there is one.",
    )
    workload: Workload = Field(
        default="Engine",
        description="Program that ranks run to fill the caches. With Engine, which is the default, ranks start vLLM "
        "itself and send requests to it. With Operators, ranks run only the kernels that FlashInfer tunes for the "
        "shapes of the model, without loading the model. Changing it starts a new tuning.",
    )
    ranks: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Number of pods of the tuning Job. Each one asks for the resources of a whole replica. With 1, "
        "which is the default, the same pod makes the bundle and proves it. With 2 or more, other pods than the "
        "first prove the bundle by starting as a new replica would.",
    )
    generation: int = Field(
        default=1,
        ge=1,
        le=1000000,
        description="Number that is part of the key. Raise it to tune again for an unchanged pod. It can't be "
        "lowered. The default is 1.",
        json_schema_extra=rules(("self >= oldSelf", "tuning.generation can't go down: raise it to tune again")),
    )
    timeout: Duration = Field(
        default="60m",
        description="Time that all attempts together may take, counted from the first start of a rank. When it is "
        "over, tuning fails and replicas start cold. Write it as 90s, 60m or 1h30m. The default is 60m.",
    )
    queue_timeout: Duration = Field(
        default="10m",
        description="Time that tuning may wait for capacity in the cluster while replicas wait for the bundle. When it "
        "is over, replicas start cold and tuning goes on waiting. Write it as 90s, 60m or 1h30m. The default is 10m.",
    )
    attempts: int = Field(
        default=3,
        ge=1,
        le=10,
        description="Number of failed attempts after which tuning gives up and replicas start cold. Attempts that "
        "were disrupted, such as by an eviction, aren't counted. The default is 3.",
    )
    sweep: SweepReference | None = Field(
        default=None,
        description="Further requests that ranks send to the engine before its caches are captured, so that kernels "
        "that these requests need are in the bundle. Changing it starts no new tuning of a key that has a bundle.",
    )
    hardware_limit: int = Field(
        default=4,
        ge=1,
        le=16,
        description="Number of kinds of hardware, such as GPU products, to tune for. The first kind is the one that "
        "the scheduler chooses for ranks. Another kind gets a StartupCache of its own when a replica starts cold on "
        "it. Nothing rolls out because of that. Set 1 to tune for the first kind only. "
        "InferenceDeployments of one key share their StartupCaches, so the largest of their limits counts. Lowering it "
        "ends no tuning that has begun.",
    )
    template: RankTemplate = Field(
        default_factory=RankTemplate,
        description="Settings of ranks, which are the pods of the tuning Job. They are merged into the part of "
        "spec.template that ranks use.",
    )


class SecretReference(Model):
    name: str = Field(
        pattern=NAME, max_length=253, description="Name of a Secret in the namespace of the InferenceDeployment."
    )


class LayerSettings(Model):
    exclude: list[LayerName] = Field(
        default_factory=list,
        max_length=32,
        description="Layers that the bundle leaves out and that replicas don't install, such as Triton. A layer is "
        "the cache of one program that the engine uses. Changing the list starts a new tuning.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class CacheSettings(Model):
    credentials_secret: SecretReference | None = Field(
        default=None,
        description="Reference to a Secret whose keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY let init "
        "containers read the bucket. Give these credentials no right to write. By default init containers use the "
        "identity of the pod's service account.",
    )
    layers: LayerSettings = Field(
        default_factory=LayerSettings, description="Selection of the layers that bundles contain."
    )
    on_failure: OnFailure = Field(
        default=OnFailure.SERVE_COLD,
        description="Behaviour of a replica that gets no bundle. With ServeCold, which is the default, the engine "
        "starts with an empty cache. With Block, the init container fails and is restarted until there is a "
        "bundle.",
    )


class InferenceDeploymentSpec(Model):
    """InferenceDeployment manages vLLM replicas that start with caches which a tuning Job has filled and proved."""

    model_config = ruled(ENGINE_RULES)
    replicas: int | None = Field(
        default=None,
        ge=0,
        le=10000,
        description="Number of replicas, which are the pods that serve. If it is absent, the number of replicas of "
        "the Deployment is left alone, so that the Deployment itself can be scaled. An autoscaler of the "
        "InferenceDeployment requires an initial number here.",
    )
    template: Object = Field(
        description="Pod template of replicas, exactly as in spec.template of a Deployment. Replicas get it "
        "unchanged, except that Tunecast adds an init container, the volumes and variables of the cache, and a "
        "startup probe and shared memory where it has none. Model, port and parallel sizes are read from the command "
        "line of the container that runs vLLM.",
        json_schema_extra=TEMPLATE,
    )
    engine: EngineSettings = Field(
        default_factory=EngineSettings,
        description="Facts about the engine that the pod template does not contain. Most pods need none of them.",
    )
    strategy: Object = Field(
        default_factory=dict,
        description="Strategy by which the Deployment replaces replicas. The default is that of a Deployment.",
        json_schema_extra=of("DeploymentStrategy"),
    )
    tuning: Tuning = Field(
        default_factory=Tuning,
        description="Settings of tuning, which fills the engine's caches once and publishes them as a bundle.",
    )
    cache: CacheSettings = Field(
        default_factory=CacheSettings,
        description="Settings of how replicas read the bundle, which layers they use, and what they do without one.",
    )


__all__ = [
    "CacheSettings", "EngineSettings", "InferenceDeploymentSpec", "LayerName", "RankTemplate", "SweepReference",
    "Tuning",
]  # fmt: skip
