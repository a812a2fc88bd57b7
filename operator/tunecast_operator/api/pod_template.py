"""The schema of spec.template: Kubernetes' PodTemplateSpec, with rules that reject what can't work."""

from __future__ import annotations

from tunecast_core.engine.command_line import WELL_KNOWN_IMAGE
from tunecast_core.key import MOUNT_PATH
from tunecast_operator.api.kubernetes_types import of
from tunecast_operator.api.model import Object, rules

OWN_MOUNTS = (MOUNT_PATH, "/run/tunecast")
RANK_VARIABLE = "JOB_COMPLETION_INDEX"  # the Job controller sets it, unless the template does
MAX_CONTAINERS = 16  # also of init containers
MAX_VOLUMES = 128
MAX_OF_CONTAINER = {"command": 64, "args": 256, "env": 256, "volumeMounts": 64}
ORDINARY_RESOURCES = ("cpu", "memory", "ephemeral-storage")

OWN_NAMES = rules(
    (
        "self.all(k, !k.startsWith('tunecast.io/'))",
        "labels and annotations that begin with tunecast.io/ are Tunecast's own: rename them",
    )
)
_VOLUMES = rules(
    (
        "self.all(v, !v.name.startsWith('tunecast-'))",
        "volume names that begin with tunecast- are Tunecast's own: rename the volume",
    ),
)
_CONTAINERS = rules(
    (
        "self.all(c, !c.name.startsWith('tunecast-'))",
        "container names that begin with tunecast- are Tunecast's own: rename the container",
    ),
)
_MOUNTS = rules(
    (
        "self.all(m, " + " && ".join(f"!(m.mountPath + '/').startsWith('{path}/')" for path in OWN_MOUNTS) + ")",
        f"{' and '.join(OWN_MOUNTS)} are Tunecast's own: mount the volume elsewhere",
    ),
    (
        r"self.all(m, !m.mountPath.matches('//|/\\.\\.?(/|$)'))",
        "a mountPath contains //, /./ or /../: write the path without them",
    ),
)
_ENV = rules(
    (
        f"self.all(v, v.name != '{RANK_VARIABLE}')",
        f"{RANK_VARIABLE} identifies the rank of a pod of the tuning Job: give the variable another name",
    ),
)
_RESTART = rules(("self == 'Always'", "restartPolicy must be Always, as in a Deployment: leave it out"))
_METADATA: Object = {"maxProperties": 128, **OWN_NAMES}


def _containers(field: str) -> dict[str, Object]:
    """Returns limits on sizes. Without them, the API server rejects the CEL rules as too expensive."""
    return {
        f"spec__{field}": {"maxItems": MAX_CONTAINERS, **_CONTAINERS},
        f"spec__{field}__name": {"maxLength": 63},
        f"spec__{field}__image": {"maxLength": 1024},
        f"spec__{field}__command": {"maxItems": MAX_OF_CONTAINER["command"]},
        f"spec__{field}__args": {"maxItems": MAX_OF_CONTAINER["args"]},
        f"spec__{field}__env": {"maxItems": MAX_OF_CONTAINER["env"], **_ENV},
        f"spec__{field}__env__name": {"maxLength": 256},
        f"spec__{field}__volumeMounts": {"maxItems": MAX_OF_CONTAINER["volumeMounts"], **_MOUNTS},
        f"spec__{field}__volumeMounts__mountPath": {"maxLength": 512},
        f"spec__{field}__resources__limits": {"maxProperties": 32},
        f"spec__{field}__resources__claims": {"maxItems": 32},
    }


TEMPLATE = of(
    "PodTemplateSpec",
    **_containers("containers"),
    **_containers("initContainers"),
    spec__volumes={"maxItems": MAX_VOLUMES, **_VOLUMES},
    spec__volumes__name={"maxLength": 63},
    spec__restartPolicy=_RESTART,
    metadata__labels=_METADATA,
    metadata__annotations=_METADATA,
)

# A container that asks for an accelerator: by an extended resource, or by a claim.
_ACCELERATED = (
    "has(c.resources) && ((has(c.resources.limits) && c.resources.limits.exists(r, !(r in"
    f" [{', '.join(map(repr, ORDINARY_RESOURCES))}]) && !r.startsWith('hugepages-')))"
    " || (has(c.resources.claims) && c.resources.claims.size() > 0))"
)
_CONTAINERS_PATH = "self.template.spec.containers"
_NAMED = "has(self.engine) && has(self.engine.container)"
_ALONE = f"{_CONTAINERS_PATH}.size() != 1 || {_CONTAINERS_PATH}.all(c, %s)"  # the only container is the engine
_WORDS = ("command", "args")


def _lacks(flag: str) -> str:
    """Returns a CEL expression. It uses startsWith, since a regular expression would exceed CEL's cost budget."""
    given = f"w == '{flag}' || w.startsWith('{flag}=')"
    return " && ".join(f"(!has(c.{words}) || !c.{words}.exists(w, {given}))" for words in _WORDS)


_LOOPBACK = [f"--host={host}" for host in ("127.0.0.1", "localhost", "::1")]
_PROBED = "has(c.startupProbe) || has(c.readinessProbe) || has(c.livenessProbe)"
_RUNS_ARGUMENTS = "(has(c.args) && c.args.exists(w, w == 'serve' || w == '-m' || w == '-c'))"
_STARTS = (
    "(has(c.command) && c.command.size() > 0) || (has(self.engine) && has(self.engine.entrypoint)) ||"
    f" {_RUNS_ARGUMENTS} || (has(c.image) && c.image.matches('^{WELL_KNOWN_IMAGE}([:@].*)?$'))"
)
ENGINE_RULES = rules(
    (
        f"!({_NAMED}) || {_CONTAINERS_PATH}.exists(c, c.name == self.engine.container)",
        "engine.container names no container of template.spec.containers: write the name of the one that runs vLLM",
    ),
    (
        f"{_NAMED} || {_CONTAINERS_PATH}.size() == 1 || {_CONTAINERS_PATH}.exists_one(c, {_ACCELERATED})",
        "not exactly one of the containers asks for an accelerator: name the one that runs vLLM in engine.container",
    ),
    (
        _ALONE % _lacks("--uds"),
        "an engine that listens on --uds can't be asked for its health: leave --uds out",
    ),
    (
        _ALONE % _lacks("--config"),
        "--config names a file that Tunecast can't read: write its settings as flags",
    ),
    (
        _ALONE % f"({' && '.join(map(_lacks, _LOOPBACK))}) || {_PROBED}",
        "the kubelet can't reach an engine on a loopback address: leave --host out, or add a startupProbe with exec",
    ),
    (
        _ALONE % _STARTS,
        "the container has no command, and the image's ENTRYPOINT isn't known: set engine.entrypoint to it",
    ),
)
