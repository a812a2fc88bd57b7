"""What is served, and how: the engine's container and how a replica is spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from tunecast_cache.layers import RESERVED_VARIABLES
from tunecast_operator.api.kubernetes_types import list_of, of
from tunecast_operator.api.model import Model, Object, rules, text

_RESERVED = sorted({*RESERVED_VARIABLES, "JOB_COMPLETION_INDEX"})  # the latter says which rank a pod is
_VARIABLES = rules(
    (
        "self.all(v, self.exists_one(w, w.name == v.name))",
        "engine.env sets a variable twice: keep one of them",
    ),
    (
        f"self.all(v, !(v.name in [{', '.join(map(repr, _RESERVED))}]))",
        f"engine.env sets a variable of Tunecast's own: leave {', '.join(_RESERVED)} to it",
    ),
)
Argument = Annotated[str, Field(max_length=4096)]


class ModelReference(Model):
    name: str = Field(
        min_length=1,
        max_length=512,
        pattern=r"^\S+$",
        description="A model on the hub, such as Qwen/Qwen3-8B, or a path in the image or in a volume.",
    )
    revision: str = Field(
        default="main", min_length=1, max_length=128, description="Branch, tag or commit of a model on the hub."
    )


class EngineSettings(Model):
    image: str = Field(
        min_length=1,
        max_length=512,
        pattern=r"^\S+$",
        description="The engine's image, with vLLM and Python 3.10 or later. A tag that moves keeps its key: name a "
        "fixed one.",
    )
    command: list[Argument] = Field(
        default=["vllm", "serve"],
        min_length=1,
        max_length=32,
        description="What starts the engine. The model's name follows it, unless $(MODEL) says where else it goes; "
        "then come the arguments.",
    )
    args: list[Argument] = Field(
        default=[],
        max_length=128,
        description="The engine's arguments. Port, revision and parallelism are added from their own fields.",
    )
    env: list[Object] = Field(
        default_factory=list,
        max_length=128,
        description="Environment variables, as in a container. Those that place caches are Tunecast's own.",
        json_schema_extra=list_of(
            "V1EnvVar",
            _VARIABLES,
            name=text("The variable's name.", 256),
            value=text("Its value.", 32768, least=0),
        ),
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Where the engine serves HTTP.")
    security_context: Object | None = Field(
        default=None,
        description="The engine container's security context, as the restricted Pod Security profile asks for one.",
        json_schema_extra=of("V1SecurityContext"),
    )


class Parallelism(Model):
    tensor: int = Field(default=1, ge=1, le=1024, description="Ranks of --tensor-parallel-size.")
    pipeline: int = Field(default=1, ge=1, le=1024, description="Ranks of --pipeline-parallel-size.")
    data: int = Field(default=1, ge=1, le=1024, description="Ranks of --data-parallel-size.")
    nodes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Pods of one replica. More than one is not in this release.",
        json_schema_extra=rules(
            ("self == 1", "replicas that span nodes are not in this release: set parallelism.nodes to 1")
        ),
    )


_LISTS = ("self.engine.command", "self.engine.args")


def agrees(field: str, same: Callable[[str], str], *flags: str) -> tuple[str, str]:
    """A CEL rule: nothing in the command or the arguments gives one of ``flags`` another value than ``field`` has.

    Args:
        field: the field of the spec that decides, for the message.
        same: makes the CEL expression that tells whether a string expression has that value.
        flags: the spellings of one flag.
    """
    spellings = [spelt for flag in flags for spelt in sorted({flag, underscored(flag)})]
    checks = [check for line in _LISTS for flag in spellings for check in _agrees(line, flag, same)]
    message = f"engine.args contradict {field}: leave {' and '.join(flags)} out of them, and set {field}"
    return " && ".join(checks), message


def underscored(flag: str) -> str:
    """As vLLM takes it too: --tensor_parallel_size."""
    return "--" + flag[2:].replace("-", "_") if flag.startswith("--") else flag


def reachable() -> list[tuple[str, str]]:
    """CEL rules: the kubelet's probes and Services reach the engine. What is spelt otherwise the operator sees."""
    socket = [f"{line}.all(a, !a.matches('^--uds?(=.*)?$'))" for line in _LISTS]
    host = [check for line in _LISTS for check in _agrees(line, "--host", _elsewhere)]
    certificates = [
        check
        for line in _LISTS
        for flag in ("--ssl-cert-reqs", "--ssl_cert_reqs")
        for check in _agrees(line, flag, lambda text: f"{text} != '2'")
    ]
    advice = "leave out --host, or set it to 0.0.0.0, :: or the pod's own address"
    return [
        (" && ".join(socket), "no probe reaches an engine that listens on a Unix socket: leave out --uds"),
        (" && ".join(host), f"neither probes nor clients reach an engine that listens on a loopback address: {advice}"),
        (
            " && ".join(certificates),
            "probes have no client certificate, as the engine would demand: leave out --ssl-cert-reqs",
        ),
    ]


def _elsewhere(text: str) -> str:
    return f"!{text}.matches('^(127[.0-9]*|localhost|.?::1.?)$')"


def _agrees(line: str, flag: str, same: Callable[[str], str]) -> tuple[str, str]:
    """The spellings --flag=value and --flag value. Joining strings or lists would cost more than CEL's budget."""
    joined = f"{line}.all(a, !a.startsWith('{flag}=') || {same(f'a.substring({len(flag) + 1})')})"
    at = f"{line}.lastIndexOf('{flag}')"
    return joined, f"({at} == -1 || ({at} + 1 < {line}.size() && {same(f'{line}[{at} + 1]')}))"


def same_text(field: str) -> Callable[[str], str]:
    return lambda text: f"{text} == {field}"


def same_number(field: str) -> Callable[[str], str]:
    """Text is turned into a number, never the other way: CEL doesn't know how long a number's text is."""
    return lambda text: f"({text}.matches('^[0-9]{{1,5}}$') && int({text}) == {field})"
