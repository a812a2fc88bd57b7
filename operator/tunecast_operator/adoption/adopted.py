"""An adopted pod, described as an InferenceDeployment would describe it. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tunecast_core.errors import TunecastError
from tunecast_core.key import KEY_VERSION
from tunecast_operator.adoption.as_written import as_written, is_injected
from tunecast_operator.adoption.settings import SettingError, fields, settings_of, source_of
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.api.pod_template import OWN_MOUNTS
from tunecast_operator.engine import Engine, engine_of
from tunecast_operator.identity import key_of
from tunecast_operator.resources.init_container import VOLUME_PREFIX


class NotAdoptableError(TunecastError):
    """The message says what of the pod can't work, and what to write instead."""

    reason = "NotAdoptable"


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an InferenceDeployment with the pod's own template and settings would have."""

    spec: InferenceDeploymentSpec
    engine: Engine
    key: str

    @property
    def tunes(self) -> bool:
        """Whether a key without a StartupCache gets one."""
        return self.spec.tuning.policy != "Never"


def adopted(pod: Mapping[str, Any], defaults: Mapping[str, str], chart: Mapping[str, str]) -> Adopted:
    """Describes ``pod``, as it is when it is created or any time later.

    Args:
        pod: with the label ``tunecast.io/inject``.
        defaults: data of the ConfigMap ``tunecast-defaults`` in its namespace.
        chart: the chart's defaults.

    Raises:
        SettingError: a setting can't be read.
        NotAdoptableError: the pod uses what is Tunecast's own.
        SpecError: the engine's command line can't be read, or asks for what can't work.
    """
    if not is_injected(pod):
        _check(pod["spec"])
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
    engine = engine_of(template, model.engine)
    return Adopted(model, engine, key_of(model, engine, KEY_VERSION))


def _check(spec: Mapping[str, Any]) -> None:
    """Names and places that are Tunecast's own, as the rules of an InferenceDeployment say at ``kubectl apply``."""
    for volume in spec.get("volumes") or ():
        if volume["name"].startswith(VOLUME_PREFIX):
            raise NotAdoptableError(
                f"volume {volume['name']}: names that begin with {VOLUME_PREFIX} are Tunecast's own"
            )
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        if container["name"].startswith(VOLUME_PREFIX):
            raise NotAdoptableError(
                f"container {container['name']}: names that begin with {VOLUME_PREFIX} are Tunecast's own"
            )
        for mount in container.get("volumeMounts") or ():
            path = f"{posixpath.normpath(mount['mountPath'])}/"
            if any(path.startswith(f"{own}/") for own in OWN_MOUNTS):
                raise NotAdoptableError(
                    f"container {container['name']} mounts {mount['mountPath']}, which is Tunecast's own:"
                    " mount the volume elsewhere"
                )
