"""Finds the engine's container in a pod template and reads its command line. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunecast_core.bundle.layers import RESERVED_VARIABLES
from tunecast_core.engine.command_line import CommandLine, default_entrypoint, read, starts_engine
from tunecast_core.engine.expansion import variables
from tunecast_core.engine.listen import is_loopback, listen
from tunecast_core.errors import CommandLineError, TunecastError
from tunecast_core.key import MOUNT_PATH
from tunecast_operator.api.engine import EngineSettings
from tunecast_operator.api.pod_template import ORDINARY_RESOURCES
from tunecast_operator.conditions import Reason

Object = Mapping[str, Any]
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
VISIBLE_DEVICES = "NVIDIA_VISIBLE_DEVICES"  # how a pod gets GPUs without a device plugin
NO_DEVICES = {"", "none", "void"}
_REFERENCE = re.compile(r"\$\(([^()]+)\)|`")
HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")
# Variables that are part of the names of vLLM's compiled files.
HASHED_VARIABLES = frozenset({
    "MOONCAKE_REQUESTER_LOCAL_HOSTNAME", "VLLM_DP_RANK", "VLLM_DP_RANK_LOCAL", "VLLM_EC_SIDE_CHANNEL_HOST",
    "VLLM_LOOPBACK_IP", "VLLM_P2P_SIDE_CHANNEL_HOST", "VLLM_PROCESS_NAME_PREFIX",
})  # fmt: skip
_WHOLE_GPUS = frozenset(
    {"nvidia.com/gpu", "amd.com/gpu"}
)  # resources whose units are whole GPUs, one for each process of an engine
# Flags of replicas that span pods or ports.
_UNSUPPORTED = {
    "--node-rank": "replicas that span nodes are not in this release",
    "--data-parallel-rank": "replicas that span pods are not in this release",
    "--data-parallel-start-rank": "replicas that span pods are not in this release",
    "--data-parallel-external-lb": "replicas that span pods are not in this release",
    "--data-parallel-hybrid-lb": "replicas that span pods are not in this release",
    "--data-parallel-multi-port-external-lb": "an engine with several ports can't be asked for its health",
}


class SpecError(TunecastError):
    """A spec can't work. The message names the field and what to write instead."""

    reason = Reason.INVALID_SPEC


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine's container in a pod template, and its command line."""

    container: Object
    words: tuple[str, ...]  # the whole command line with unexpanded $(VARIABLES)
    entrypoint: tuple[str, ...]  # the image's ENTRYPOINT, if the container has no command
    line: CommandLine
    notes: tuple[str, ...]  # what the author of the template should know

    @property
    def name(self) -> str:
        return str(self.container["name"])

    @property
    def env(self) -> list[dict[str, Any]]:
        return list(self.container.get("env") or ())

    @property
    def wants_gpu(self) -> bool:
        """Whether the container asks for an accelerator. If it doesn't, its hardware is the CPU alone."""
        visible = next((str(v.get("value", "")) for v in self.env if v["name"] == VISIBLE_DEVICES), "")
        return bool(accelerators(self.container) or claims(self.container) or visible not in NO_DEVICES)

    @property
    def health(self) -> dict[str, Any]:
        """Handler of a startup probe: /health, or the handler of another probe of the container.

        An engine that listens on a loopback address alone can't be reached by the kubelet.
        """
        if not is_loopback(self.line.host or ""):
            port = {"path": "/health", "port": self.line.port}
            return {"httpGet": {**port, "scheme": "HTTPS"} if self.line.scheme == "https" else port}
        probes = [self.container[probe] for probe in PROBES if self.container.get(probe)]
        return next(({name: probe[name]} for probe in probes for name in HANDLERS if name in probe), {})


def engine_of(template: Object, settings: EngineSettings) -> Engine:
    """Finds the engine in a pod template and reads its command line.

    Raises:
        SpecError: the container is missing or ambiguous, or its command line can't be read or can't work.
    """
    container = _container(template, settings.container)
    command, args = list(container.get("command") or ()), list(container.get("args") or ())
    try:
        environment = variables(container.get("env") or ())
        entrypoint = () if command else _entrypoint(container, args, settings)
        runs_arguments = not command and not entrypoint and starts_engine(args, environment)
        first, rest = (args, ()) if runs_arguments else (command, args)
        line = read(first, rest, environment, entrypoint, complete=not container.get("envFrom"))
        found = Engine(container, (*(command or entrypoint), *args), entrypoint, line, ())
        _check(found)
    except CommandLineError as error:
        raise SpecError(f"container {container['name']}: {error}") from error
    notes = (*_notes(found, settings, runs_arguments=runs_arguments), *_left_out(template["spec"], found))
    return replace(found, notes=notes)


def _entrypoint(container: Object, args: Sequence[str], settings: EngineSettings) -> tuple[str, ...]:
    return tuple(settings.entrypoint or ()) or default_entrypoint(str(container.get("image", "")), args)


def _container(template: Object, name: str | None) -> Object:
    containers: list[Object] = list((template.get("spec") or {}).get("containers") or ())
    if name is not None:
        chosen = [container for container in containers if container["name"] == name]
    else:
        chosen = containers if len(containers) == 1 else [c for c in containers if accelerators(c) or claims(c)]
    if len(chosen) != 1:
        names = ", ".join(container["name"] for container in containers)
        raise SpecError(
            f"it is unclear which container runs vLLM ({names or 'none'}): set spec.engine.container to its name"
        )
    return chosen[0]


def accelerators(container: Object) -> dict[str, str]:
    """Returns the extended resources that a container asks for, such as nvidia.com/gpu, with their quantities."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return {n: str(v) for n, v in asked.items() if n not in ORDINARY_RESOURCES and not n.startswith("hugepages-")}


def claims(container: Object) -> list[Object]:
    """Returns the resource claims of the pod that a container uses."""
    return list((container.get("resources") or {}).get("claims") or ())


def _check(engine: Engine) -> None:
    line = engine.line
    if not is_loopback(line.host or "") and (why := listen(line).refusal()):
        raise SpecError(f"container {engine.name}: {why}")
    for flag, why in _UNSUPPORTED.items():
        if line.options.get(flag, ("false",)) != ("false",):
            raise SpecError(f"{flag}: {why}: leave it out")
    if (line.number("--nnodes") or 1) > 1:
        raise SpecError("--nnodes: replicas that span nodes are not in this release: leave it out")
    if (line.number("--data-parallel-size-local") or line.data) < line.data:
        raise SpecError("--data-parallel-size-local: replicas that span pods are not in this release: leave it out")
    for resource in _WHOLE_GPUS & accelerators(engine.container).keys():
        given = accelerators(engine.container)[resource]
        if given.isdecimal() and int(given) < line.devices:
            raise SpecError(
                f"the parallel sizes need {line.devices} GPUs, and container {engine.name} asks for {given} of"
                f" {resource}: ask for as many, since replicas that span nodes are not in this release"
            )
    directory = line.compile_cache_directory
    if directory and not f"{directory}/".startswith(f"{MOUNT_PATH}/"):
        raise SpecError(
            f"--compilation-config puts cache_dir at {directory}, which no bundle contains: leave cache_dir out"
        )
    if own := sorted(RESERVED_VARIABLES & line.assigned.keys()):
        raise SpecError(f"the command line sets {own[0]}, which Tunecast sets to its own cache directory: leave it out")


def check_probes(engine: Engine) -> None:
    """Raises SpecError if the kubelet has no way to detect that a replica's engine has started."""
    if not engine.container.get("startupProbe") and not engine.health:
        why = listen(engine.line).refusal()
        raise SpecError(f"container {engine.name}: {why}; or add a startupProbe with exec, if a proxy forwards to it")


def _notes(engine: Engine, settings: EngineSettings, *, runs_arguments: bool) -> Iterator[str]:
    yield from engine.line.notes
    for variable in engine.env:
        if variable["name"] in RESERVED_VARIABLES:
            yield (
                f"variable {variable['name']} of container {engine.name} is replaced: Tunecast keeps the engine's"
                f" caches below {MOUNT_PATH}"
            )
    for name in sorted(HASHED_VARIABLES & _per_pod(engine)):
        yield (
            f"variable {name} of container {engine.name} has another value in each pod, and vLLM names its compiled"
            " files by it, so that replicas compile again: give it a value that is the same in all pods"
        )
    if runs_arguments:
        yield (
            f"the ENTRYPOINT of {engine.container.get('image')} isn't known, so ranks start the args of container"
            f" {engine.name} without it: set spec.engine.entrypoint if the ENTRYPOINT does more than run them"
        )
    if settings.entrypoint and not engine.entrypoint:
        yield f"spec.engine.entrypoint has no effect, since container {engine.name} has a command"


def _left_out(pod: Object, engine: Engine) -> Iterator[str]:
    """Yields notes on parts of the pod that the engine may need to start, but that ranks don't have."""
    if (engine.container.get("lifecycle") or {}).get("postStart"):
        yield f"ranks don't run the postStart hook of container {engine.name}: let an init container prepare the start"
    mounted = {mount["name"] for mount in engine.container.get("volumeMounts") or ()}
    sidecars = [init for init in pod.get("initContainers") or () if init.get("restartPolicy") == "Always"]
    for container in (*pod["containers"], *sidecars):
        writable = {m["name"] for m in container.get("volumeMounts") or () if not m.get("readOnly")}
        if container["name"] != engine.name and (shared := sorted(mounted & writable)):
            yield (
                f"ranks run without container {container['name']}, which can write to the engine's volume {shared[0]}:"
                " let an init container bring what the engine needs there to start"
            )


def _per_pod(engine: Engine) -> set[str]:
    """Returns variables that differ between pods: field references, and values that depend on them or on a command."""
    found: set[str] = set()
    for variable in engine.env:
        references = set(_REFERENCE.findall(str(variable.get("value", ""))))
        if "fieldRef" in (variable.get("valueFrom") or {}) or references & found:
            found.add(variable["name"])
    shared = {variable["name"] for variable in engine.env} - found
    computed = (name for name, value in engine.line.assigned.items() if set(_REFERENCE.findall(value)) - shared)
    return found | set(computed)
