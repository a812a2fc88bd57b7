"""Injects the init container, the cache volume and variables into an adopted pod. Pure and idempotent.

Changes of an earlier call are removed first. So a second call, after another injector changed the pod, only adds what
that change requires.
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
OWN_PREFIX = "TUNECAST_"  # of variables of the init container


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The information that the webhook uses besides the pod.

    Attributes:
        init: image and settings of the init container.
        chart: the chart's default settings.
        defaults: returns the data of a namespace's ConfigMap ``tunecast-defaults``.
        environment: returns the variables that the bundle of (namespace, key) needs; none before it is ready.
    """

    init: InitContainer
    chart: Mapping[str, str]
    defaults: Callable[[str], Mapping[str, str]]
    environment: Callable[[str, str], Mapping[str, str]]


def inject(pod: Object, namespace: str, around: Surroundings) -> dict[str, Any]:
    """Returns the pod to create.

    Args:
        pod: the pod, with changes by the API server and other webhooks.
        namespace: namespace of the pod.
        around: other information.

    Raises:
        SettingError, NotAdoptableError, SpecError: the pod can't be injected, and should be created unchanged.
    """
    found = adopted(pod, around.defaults(namespace), around.chart)
    bare = without_injection(pod)
    engine = _in(bare, found.engine)
    revision = _revision(found, engine, around.init, around.environment(namespace, found.key))
    spec = replica_pod(bare["spec"], found.spec.cache, engine, revision)
    spec["enableServiceLinks"] = bare["spec"].get("enableServiceLinks", True)  # the owner chooses it
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
        "spec": {**spec, "initContainers": [_with_additions(c, earlier) for c in spec["initContainers"]]},
    }


def _in(pod: Object, engine: Engine) -> Engine:
    """Returns the engine with its container in ``pod``, including what others injected."""
    return replace(engine, container=next(c for c in pod["spec"]["containers"] if c["name"] == engine.name))


def _revision(found: Adopted, engine: Engine, init: InitContainer, environment: Mapping[str, str]) -> Revision:
    own = {variable["name"] for variable in engine.env} - RESERVED_VARIABLES
    return Revision(
        spec="", key=found.key, key_version=KEY_VERSION, init_image=init.image, init_pull_policy=init.pull_policy,
        environment={name: value for name, value in environment.items() if name not in own},
        held=False, port=engine.line.port, init_container=init.settings,
    )  # fmt: skip


def _with_additions(container: Object, earlier: Object) -> Object:
    """Returns Tunecast's init container with variables and mounts that others added to the ``earlier`` one."""
    if container["name"] != INIT:
        return container
    known = {variable["name"] for variable in container["env"]}
    variables = [v for v in earlier.get("env") or () if v["name"] not in known and not v["name"].startswith(OWN_PREFIX)]
    mounts = [m for m in earlier.get("volumeMounts") or () if not m["name"].startswith(VOLUME_PREFIX)]
    return {
        **container,
        "env": [*container["env"], *variables],
        "volumeMounts": [*container["volumeMounts"], *mounts],
    }
