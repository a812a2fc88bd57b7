"""Describes an adopted pod as an InferenceDeployment would. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tunecast_core.errors import TunecastError
from tunecast_core.key import KEY_VERSION
from tunecast_operator.adoption.as_written import as_written, without_injection
from tunecast_operator.adoption.settings import SettingError, by_annotation, fields, settings_of, source_of
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec, TuningPolicy
from tunecast_operator.api.pod_template import MAX_CONTAINERS, MAX_OF_CONTAINER, MAX_VOLUMES, OWN_MOUNTS
from tunecast_operator.engine import Engine, SpecError, check_probes, engine_of
from tunecast_operator.identity import key_of
from tunecast_operator.resources.init_container import VOLUME_PREFIX

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # names of containers and volumes
MAX_WORDS_SIZE = 2**16  # characters of the commands, args and env of all containers


class NotAdoptableError(TunecastError):
    """A pod can't be adopted. The message names the cause and what to write instead."""

    reason = "NotAdoptable"


@dataclass(frozen=True, slots=True)
class Adopted:
    """The spec, engine and key of an InferenceDeployment with the pod's template and settings."""

    spec: InferenceDeploymentSpec
    engine: Engine
    key: str

    @property
    def tunes(self) -> bool:
        """Whether a key without a StartupCache gets one."""
        return self.spec.tuning.policy != TuningPolicy.NEVER


def adopted(pod: Mapping[str, Any], defaults: Mapping[str, str], chart: Mapping[str, str]) -> Adopted:
    """Describes ``pod``, which may be about to be created or may have been changed since.

    Args:
        pod: a pod with the label ``tunecast.io/inject``.
        defaults: data of the ConfigMap ``tunecast-defaults`` in the namespace of the pod.
        chart: the chart's defaults.

    Raises:
        SettingError: a setting can't be read.
        NotAdoptableError: the pod is too large, or uses names or paths that are reserved for Tunecast.
        SpecError: the engine's command line can't be read or can't work.
    """
    written = without_injection(pod)["spec"]
    _check_size(written)
    _check(written)
    template = as_written(pod)
    settings = settings_of(template["metadata"]["annotations"], defaults, chart)
    spec = fields(settings)
    template["metadata"]["annotations"] = {
        name: value
        for name, value in template["metadata"]["annotations"].items()
        if not name.startswith("tunecast.io/")
    }
    try:
        model = InferenceDeploymentSpec.model_validate({**spec, "template": template})
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingError(f"{source_of(first['loc'], settings)}: {first['msg']}") from error
    try:
        engine = engine_of(template, model.engine)
        check_probes(engine)
    except SpecError as error:
        raise SpecError(by_annotation(str(error))) from error
    return Adopted(model, engine, key_of(model, engine, KEY_VERSION))


def _check_size(spec: Mapping[str, Any]) -> None:
    """Raises NotAdoptableError for a pod over the limits of an InferenceDeployment, which bound the webhook's time."""
    for field, limit in {
        "containers": MAX_CONTAINERS,
        "initContainers": MAX_CONTAINERS,
        "volumes": MAX_VOLUMES,
    }.items():
        _check_count(f"spec.{field}", spec.get(field) or (), limit)
    size = 0
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        for field, limit in MAX_OF_CONTAINER.items():
            _check_count(f"{field} of container {container['name']}", container.get(field) or (), limit)
        words = (*(container.get("command") or ()), *(container.get("args") or ()))
        size += sum(map(len, words))
        size += sum(len(entry.get("value") or "") for entry in container.get("env") or ())
    if size > MAX_WORDS_SIZE:
        raise NotAdoptableError(
            f"command, args and env of its containers have {size} characters: write at most {MAX_WORDS_SIZE}"
        )


def _check_count(what: str, items: Sequence[Any], limit: int) -> None:
    if len(items) > limit:
        raise NotAdoptableError(f"{what} has {len(items)} items: write at most {limit}")


def _check(spec: Mapping[str, Any]) -> None:
    """Raises NotAdoptableError for reserved names and paths, which CEL rules reject in an InferenceDeployment.

    It also refuses names that the API server rejects, since the API server calls webhooks before it validates a pod.
    """
    if (spec.get("os") or {}).get("name") == "windows":
        raise NotAdoptableError("spec.os is windows: vLLM and Tunecast's init container need Linux")
    containers = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    _check_names("volume", [volume["name"] for volume in spec.get("volumes") or ()])
    _check_names("container", [container["name"] for container in containers])
    for container in containers:
        for mount in container.get("volumeMounts") or ():
            if mount["name"].startswith(VOLUME_PREFIX):
                raise NotAdoptableError(
                    f"container {container['name']} mounts volume {mount['name']}: names that begin with"
                    f" {VOLUME_PREFIX} are Tunecast's own"
                )
            path = f"{posixpath.normpath(mount['mountPath'])}/"
            if any(path.startswith(f"{own}/") for own in OWN_MOUNTS):
                raise NotAdoptableError(
                    f"container {container['name']} mounts {mount['mountPath']}, which is Tunecast's own:"
                    " mount the volume elsewhere"
                )


def _check_names(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not DNS_LABEL.fullmatch(name):
            raise NotAdoptableError(f"{what} {name!r}: a name has 1 to 63 lower-case letters, digits and hyphens")
        if name in seen:
            raise NotAdoptableError(f"{what} {name}: two have this name: rename one")
        seen.add(name)
        if name.startswith(VOLUME_PREFIX):
            raise NotAdoptableError(f"{what} {name}: names that begin with {VOLUME_PREFIX} are Tunecast's own")
