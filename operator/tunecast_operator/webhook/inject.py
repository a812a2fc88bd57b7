"""What an adopted pod gets: the init container, the cache and the variables that place it. Pure, and idempotent.

What an earlier call added is taken out first, so that a second call, after another injector changed the pod, changes
only what that change asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunecast_core.bundle.layers import RESERVED_VARIABLES
from tunecast_core.key import KEY_VERSION
from tunecast_operator.adoption.adopted import Adopted, adopted
from tunecast_operator.adoption.as_written import without_injection
from tunecast_operator.adoption.names import INJECTED_ANNOTATION
from tunecast_operator.engine import Engine
from tunecast_operator.identity import CONTAINER_ANNOTATION, KEY_LABEL
from tunecast_operator.resources.annotations import replica_annotations
from tunecast_operator.resources.init_container import VOLUME_PREFIX, InitContainer
from tunecast_operator.resources.replica import INIT, replica_pod
from tunecast_operator.resources.revision import Revision

Object = Mapping[str, Any]
OWN_PREFIX = "TUNECAST_"  # of the init container's variables
_RESOURCES = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the webhook knows besides a pod.

    Attributes:
        init: image and settings of the init container.
        chart: the chart's defaults of settings.
        defaults: data of a namespace's ConfigMap ``tunecast-defaults``.
        environment: variables that the bundle of (namespace, key) needs; none where it isn't ready.
    """

    init: InitContainer
    chart: Mapping[str, str]
    defaults: Callable[[str], Mapping[str, str]]
    environment: Callable[[str, str], Mapping[str, str]]


def inject(pod: Object, namespace: str, around: Surroundings) -> dict[str, Any]:
    """The pod as it is to be created.

    Args:
        pod: as its owner, the API server and other webhooks made it.
        namespace: where it is created.
        around: what else is known.

    Raises:
        SettingError, NotAdoptableError, SpecError: the pod can't be described, and is to be created as it is.
    """
    found = adopted(pod, around.defaults(namespace), around.chart)
    bare = without_injection(pod)
    engine = _in(bare, found.engine)
    revision = _revision(found, engine, around.init, around.environment(namespace, found.key))
    spec = replica_pod(bare["spec"], found.spec.cache, engine, revision)
    spec["enableServiceLinks"] = bare["spec"].get("enableServiceLinks", True)  # its owner's to choose
    metadata = bare["metadata"]
    earlier: Object = next((c for c in pod["spec"].get("initContainers") or () if c["name"] == INIT), {})
    return {
        **bare,
        "metadata": {
            **metadata,
            "labels": {**metadata["labels"], KEY_LABEL: found.key},
            "annotations": {
                **replica_annotations(metadata["annotations"], spec["volumes"]),
                CONTAINER_ANNOTATION: engine.name,
                INJECTED_ANNOTATION: "true",
            },
        },
        "spec": {**spec, "initContainers": [_finished(c, engine, earlier) for c in spec["initContainers"]]},
    }


def _in(pod: Object, engine: Engine) -> Engine:
    """The engine with its container as the pod has it, with what others injected into it."""
    return replace(engine, container=next(c for c in pod["spec"]["containers"] if c["name"] == engine.name))


def _revision(found: Adopted, engine: Engine, init: InitContainer, environment: Mapping[str, str]) -> Revision:
    own = {variable["name"] for variable in engine.env} - RESERVED_VARIABLES
    return Revision(
        spec="", key=found.key, key_version=KEY_VERSION, init_image=init.image, init_pull_policy=init.pull_policy,
        environment={name: value for name, value in environment.items() if name not in own},
        held=False, port=engine.line.port, init_container=init.settings,
    )  # fmt: skip


def _finished(container: Object, engine: Engine, earlier: Object) -> Object:
    return _with_additions(_like_engine(container, engine), earlier) if container["name"] == INIT else container


def _with_additions(container: Object, earlier: Object) -> Object:
    """The init container with what others added to the ``earlier`` one, such as credentials of a service account."""
    known = {variable["name"] for variable in container["env"]}
    variables = [v for v in earlier.get("env") or () if v["name"] not in known and not v["name"].startswith(OWN_PREFIX)]
    mounts = [m for m in earlier.get("volumeMounts") or () if not m["name"].startswith(VOLUME_PREFIX)]
    return {
        **container,
        "env": [*container["env"], *variables],
        "volumeMounts": [*container["volumeMounts"], *mounts],
    }


def _like_engine(container: Object, engine: Engine) -> Object:
    """Tunecast's init container asks for what the engine's container asks for, where that asks for something.

    Init containers run before the others, so the pod as a whole then asks for no more than before: its quality of
    service stays, and it still fits the quotas and limit ranges that its owner wrote it for.
    """
    own, engines = container.get("resources") or {}, engine.container.get("resources") or {}
    asked = {name for name in _RESOURCES for kind in engines.values() if isinstance(kind, Mapping) and name in kind}
    merged = {
        kind: {
            **{name: value for name, value in (own.get(kind) or {}).items() if name not in asked},
            **{name: value for name, value in (engines.get(kind) or {}).items() if name in asked},
        }
        for kind in ("requests", "limits")
    }
    return {**container, "resources": {kind: values for kind, values in merged.items() if values}}
