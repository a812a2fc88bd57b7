"""InferenceDeployment: what a user asks for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from tunecast_cache.key import MOUNT_PATH
from tunecast_cache.layers import LAYERS, RESERVED_VARIABLES
from tunecast_operator.api.model import DURATION, FREE, NAME, Duration, Model, Object, rules, seconds

_RESERVED = ", ".join(f"'{name}'" for name in sorted(RESERVED_VARIABLES))
LayerName = Literal[tuple(layer.name for layer in LAYERS)]  # type: ignore[valid-type]
FreeObject = Annotated[Object, Field(json_schema_extra=FREE)]


def free_list(limit: int, **extra: Any) -> Any:
    """A list of core Kubernetes objects, which the API server checks when a Deployment is made of them."""
    return Field(default_factory=list, max_length=limit, json_schema_extra=extra)


def contradicts(flags: tuple[str, ...], value: str, args: str) -> str:
    """CEL: no argument gives one of ``flags`` another value; the two-word spelling can't be compared, so it isn't taken."""
    joined = " && ".join(f"(!a.startsWith('{flag}=') || int(a.substring({len(flag) + 1})) == {value})" for flag in flags)
    apart = ", ".join(f"'{flag}'" for flag in flags)
    return f"!has({args}) || {args}.all(a, {joined} && !(a in [{apart}]))"


class ModelReference(Model):
    name: str = Field(
        min_length=1, max_length=512, description="A model on the hub, such as Qwen/Qwen3-8B, or a path in the image or a volume."
    )
    revision: str = Field("main", min_length=1, max_length=128, description="Branch, tag or commit of the model.")


class EngineSettings(Model):
    model_config = ConfigDict(
        frozen=True, populate_by_name=True, alias_generator=to_camel, extra="ignore",
        json_schema_extra=rules(
            (
                contradicts(("--port",), "self.port", "self.args"),
                "args contradict engine.port: set the port there alone",
            ),
        ),
    )  # fmt: skip
    image: str = Field(min_length=1, max_length=512, description="The engine's image, with vLLM and Python 3.10 or later.")
    command: list[Annotated[str, Field(max_length=1024)]] = Field(
        ["vllm", "serve"], min_length=1, max_length=32,
        description="What starts the engine. The model's name follows, or takes the place of $(MODEL); then come the arguments.",
    )  # fmt: skip
    args: list[Annotated[str, Field(max_length=1024)]] = Field(
        default_factory=list, max_length=128,
        description="The engine's arguments. The port, the revision and the parallelism are added unless they are here.",
    )  # fmt: skip
    env: list[FreeObject] = Field(
        default_factory=list, max_length=128,
        description="Environment variables, as in a container. Those that place caches are Tunecast's own.",
        json_schema_extra={
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 256}},
                **FREE,
            },
            **rules(
                (
                    "self.all(v, self.exists_one(w, w.name == v.name))",
                    "a variable is set twice in engine.env: keep one of them",
                ),
                (
                    f"self.all(v, !(v.name in [{_RESERVED}]))",
                    f"engine.env sets a variable that places a cache ({', '.join(sorted(RESERVED_VARIABLES))}): leave it to Tunecast",
                ),
            ),
        },
    )  # fmt: skip
    port: int = Field(8000, ge=1, le=65535, description="Where the engine serves HTTP.")
    security_context: FreeObject | None = Field(
        None, description="The engine container's security context, such as the restricted Pod Security profile asks for."
    )


class Parallelism(Model):
    tensor: int = Field(1, ge=1, le=1024, description="--tensor-parallel-size.")
    pipeline: int = Field(1, ge=1, le=1024, description="--pipeline-parallel-size.")
    data: int = Field(1, ge=1, le=1024, description="--data-parallel-size.")
    nodes: int = Field(
        1, ge=1, le=1024, description="Pods of one replica. More than one is not in this release.",
        json_schema_extra=rules(("self == 1", "replicas that span nodes are not in this release: set nodes to 1")),
    )  # fmt: skip


_VOLUMES = rules(
    ("self.all(v, !v.name.startsWith('tunecast-'))", "volume names that begin with tunecast- are Tunecast's own: rename it"),
)
_NAMED = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 63}},
    **FREE,
}
_MOUNTS = rules(
    (
        f"self.all(m, m.mountPath != '{MOUNT_PATH}' && !m.mountPath.startsWith('{MOUNT_PATH}/') && m.mountPath != '/run/tunecast' "
        "&& !m.mountPath.startsWith('/run/tunecast/'))",
        f"{MOUNT_PATH} and /run/tunecast are Tunecast's own: mount it elsewhere",
    ),
)
_MOUNT = {
    "type": "object",
    "required": ["name", "mountPath"],
    "properties": {
        "name": {"type": "string", "maxLength": 63},
        "mountPath": {"type": "string", "minLength": 1, "maxLength": 512},
    },
    **FREE,
}
_OWN_LABELS = rules(
    (
        "self.all(k, !k.startsWith('tunecast.io/') && k != 'app.kubernetes.io/managed-by')",
        "names that begin with tunecast.io/, and app.kubernetes.io/managed-by, are Tunecast's own: rename it",
    ),
)
Text = Annotated[str, Field(max_length=1024)]


class PodSettings(Model):
    """Fields of the pod, as in a Deployment's template; replicas and ranks have the same."""

    volumes: list[FreeObject] = Field(
        default_factory=list, max_length=64, description="As in a pod.", json_schema_extra={"items": _NAMED, **_VOLUMES}
    )
    volume_mounts: list[FreeObject] = Field(
        default_factory=list, max_length=64, description="Of the engine's container.",
        json_schema_extra={"items": _MOUNT, **_MOUNTS},
    )  # fmt: skip
    node_selector: dict[str, str] = Field(default_factory=dict, max_length=64, description="As in a pod.")
    tolerations: list[FreeObject] = Field(default_factory=list, max_length=64, description="As in a pod.")
    affinity: FreeObject | None = Field(None, description="As in a pod; the accelerator's node affinity is added to it.")
    service_account_name: str | None = Field(None, max_length=253, description="Of replicas and ranks; ranks get no token of it.")
    image_pull_secrets: list[FreeObject] = Field(default_factory=list, max_length=16, description="As in a pod.")
    priority_class_name: str | None = Field(None, max_length=253, description="As in a pod.")
    runtime_class_name: str | None = Field(None, max_length=253, description="As in a pod.")
    scheduler_name: str | None = Field(None, max_length=253, description="As in a pod.")
    security_context: FreeObject | None = Field(None, description="The pod's security context.")
    labels: dict[str, Text] = Field(
        default_factory=dict, max_length=64, description="Of serving pods alone: ranks never carry them.", json_schema_extra=_OWN_LABELS
    )
    annotations: dict[str, Annotated[str, Field(max_length=65536)]] = Field(
        default_factory=dict, max_length=64, description="Of replicas and ranks.", json_schema_extra=_OWN_LABELS
    )


class SweepReference(Model):
    name: str = Field(pattern=NAME, max_length=253, description="A ConfigMap in this namespace.")
    key: str = Field("sweep.jsonl", max_length=253, description="Its key: completion requests, a JSON object a line.")


class Tuning(Model):
    policy: Literal["TuneFirst", "ServeWhileTuning", "Never"] = Field(
        "TuneFirst", description="TuneFirst: replicas wait for the cache. ServeWhileTuning: they start cold meanwhile. Never: nothing is tuned."
    )
    workload: Literal["Engine", "Operators"] = Field(
        "Engine", description="Engine: start vLLM itself. Operators: FlashInfer's operators at the model's shapes."
    )
    ranks: int = Field(1, ge=1, le=64, description="Pods of the tuning Job. With peers, the proof is made on another pod than the cache.")
    generation: int = Field(
        1, ge=1, le=1000000, description="Part of the key: raise it to tune again.",
        json_schema_extra=rules(("self >= oldSelf", "tuning.generation can't go down: raise it to tune again")),
    )  # fmt: skip
    timeout: Duration = Field("60m", description="Of all attempts together, from when ranks first run; then replicas start cold.")
    queue_timeout: Duration = Field("10m", description="Of waiting for capacity; then replicas start cold, and tuning goes on waiting.")
    attempts: int = Field(3, ge=1, le=10, description="Crashes after which tuning gives up. Disruptions aren't counted.")
    sweep: SweepReference | None = Field(None, description="Extra requests to send to the engine before its caches are captured.")

    @property
    def timeout_seconds(self) -> float:
        return seconds(self.timeout)

    @property
    def queue_timeout_seconds(self) -> float:
        return seconds(self.queue_timeout)


class SecretReference(Model):
    name: str = Field(pattern=NAME, max_length=253, description="A Secret in this namespace.")


class LayerSettings(Model):
    exclude: list[LayerName] = Field(default_factory=list, max_length=32, description="Layers to leave out.")


class CacheSettings(Model):
    credentials_secret: SecretReference | None = Field(
        None, description="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, read-only, for init containers. Absent: the service account's identity."
    )
    layers: LayerSettings = Field(default_factory=LayerSettings, description="Which layers take part.")
    on_failure: Literal["ServeCold", "Block"] = Field(
        "ServeCold", description="What a replica does without a bundle. ServeCold: start with an empty cache. Block: wait for one."
    )


_FLAGS = {
    "tensor": ("--tensor-parallel-size", "-tp"),
    "pipeline": ("--pipeline-parallel-size", "-pp"),
    "data": ("--data-parallel-size", "-dp"),
}


class InferenceDeploymentSpec(Model):
    """A fleet of replicas of one model that start warm."""

    model_config = ConfigDict(
        frozen=True, populate_by_name=True, alias_generator=to_camel, extra="ignore",
        json_schema_extra=rules(
            *(
                (
                    contradicts(flags, f"self.parallelism.{field}", "self.engine.args"),
                    f"args contradict parallelism.{field}: set {flags[0]} there alone",
                )
                for field, flags in _FLAGS.items()
            )
        ),
    )  # fmt: skip
    replicas: int | None = Field(
        None, ge=0, le=10000, description="Serving pods. Absent: the Deployment's own value is kept, so that others may scale it."
    )
    model: ModelReference = Field(description="What is served.")
    engine: EngineSettings = Field(description="How it is served.")
    accelerator: str | None = Field(
        None, min_length=1, max_length=63,
        description="The GPU, as in the node label nvidia.com/gpu.product. In the key, and a node affinity of replicas and ranks.",
    )  # fmt: skip
    parallelism: Parallelism = Field(default_factory=Parallelism, description="How one replica is spread over GPUs.")
    resources: FreeObject = Field(default_factory=dict, description="The engine container's requests and limits.")
    pod: PodSettings = Field(default_factory=PodSettings, description="What else the pods need.")
    strategy: FreeObject = Field(default_factory=dict, description="The Deployment's strategy.")
    tuning: Tuning = Field(default_factory=Tuning, description="How the cache is made.")
    cache: CacheSettings = Field(default_factory=CacheSettings, description="How replicas get it.")


__all__ = ["DURATION", "EngineSettings", "InferenceDeploymentSpec", "PodSettings", "Parallelism", "ModelReference"]
