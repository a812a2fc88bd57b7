"""Merges the settings of an adopted pod: those of its owner, its namespace and the chart. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunecast_core.bundle.layers import BY_NAME
from tunecast_core.errors import TunecastError
from tunecast_operator.adoption.names import DEFAULTS, INJECTED_ANNOTATION, NOT_INJECTED_ANNOTATION
from tunecast_operator.api.inference_deployment import TuningPolicy
from tunecast_operator.identity import CONTAINER_ANNOTATION, REVISION_ANNOTATION

PREFIX = "tunecast.io/"
_OWN = {INJECTED_ANNOTATION, NOT_INJECTED_ANNOTATION, REVISION_ANNOTATION}
MAX_VALUE = 4096  # characters of a setting
POLICIES = (TuningPolicy.SERVE_WHILE_TUNING, TuningPolicy.NEVER)


class SettingError(TunecastError):
    """A setting is invalid. The message names its annotation, ConfigMap key or chart value, and what to write."""

    reason = "BadSetting"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as written, and where it was written."""

    value: str
    source: str


def settings_of(
    annotations: Mapping[str, str], defaults: Mapping[str, str], chart: Mapping[str, str]
) -> dict[str, Setting]:
    """Returns settings by name. Annotations take precedence over the namespace's defaults, and these over the chart's.

    Args:
        annotations: annotations of the pod.
        defaults: data of the ConfigMap ``tunecast-defaults`` in the pod's namespace.
        chart: the chart's value ``adoption.defaults``, by the names of the annotations.

    Raises:
        SettingError: a name is unknown, or a value is too long.
    """
    own = {n.removeprefix(PREFIX): v for n, v in annotations.items() if n.startswith(PREFIX) and n not in _OWN}
    found = {name: Setting(value, f"adoption.defaults of the chart, {name}") for name, value in chart.items()}
    found |= {name: Setting(value, f"key {name} of ConfigMap {DEFAULTS}") for name, value in defaults.items()}
    found |= {name: Setting(value, f"annotation {PREFIX}{name}") for name, value in own.items()}
    for name in found:
        if name not in _FIELDS:
            raise SettingError(f"{found[name].source}: unknown. Known names are {', '.join(sorted(_FIELDS))}")
        if len(found[name].value) > MAX_VALUE:
            raise SettingError(f"{found[name].source}: write at most {MAX_VALUE} characters")
    return found


def tunes(settings: Mapping[str, Setting]) -> bool:
    """Whether a key without a StartupCache gets one. A policy that can't be read doesn't turn tuning off."""
    found = settings.get("tuning-policy")
    return found is None or found.value.strip() != TuningPolicy.NEVER


def fields(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Returns the settings as fields of an InferenceDeploymentSpec.

    Raises:
        SettingError: a value can't be read.
    """
    spec: dict[str, Any] = {"tuning": {"policy": POLICIES[0]}}
    for name, setting in settings.items():
        path, read = _FIELDS[name]
        try:
            value = read(setting.value.strip())
        except (ValueError, RecursionError) as error:
            raise SettingError(f"{setting.source}: {setting.value!r}: {error}") from error
        target = spec
        for part in path[:-1]:
            target = target.setdefault(part, {})
        target[path[-1]] = value
    return spec


def source_of(location: tuple[int | str, ...], settings: Mapping[str, Setting]) -> str:
    """Returns where the setting of the field at ``location`` was written; the field itself if no setting has it."""
    for name, setting in settings.items():
        path = _FIELDS[name][0]
        if tuple(location[: len(path)]) == path:
            return setting.source
    return f"spec.{'.'.join(map(str, location))}"


def by_annotation(message: str) -> str:
    """Returns a message about an InferenceDeployment with the annotations that stand for its fields."""
    for name, (path, _) in _FIELDS.items():
        message = message.replace(f"spec.{'.'.join(path)}", f"annotation {PREFIX}{name}")
    return message


def _number(value: str) -> int:
    if not value.isascii() or not value.isdecimal():
        raise ValueError("write a whole number")
    return int(value[:12])


def _words(value: str) -> list[str]:
    """Parses a JSON array, or splits words as a shell does."""
    if not value.startswith("["):
        return shlex.split(value)
    found = json.loads(value)
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise ValueError("write a list of strings")
    return found


def _layers(value: str) -> list[str]:
    found = [name.strip() for name in value.split(",") if name.strip()]
    if unknown := sorted({*found} - {*BY_NAME}):
        raise ValueError(f"no layer is named {unknown[0]}. Layers are {', '.join(BY_NAME)}")
    return sorted({*found})


def _policy(value: str) -> str:
    if value not in POLICIES:
        raise ValueError(f"write {' or '.join(POLICIES)}")
    return value


def _text(value: str) -> str:
    return value


_FIELDS: dict[str, tuple[tuple[str, ...], Callable[[str], Any]]] = {
    CONTAINER_ANNOTATION.removeprefix(PREFIX): (("engine", "container"), _text),
    "credentials-secret": (("cache", "credentialsSecret", "name"), _text),
    "entrypoint": (("engine", "entrypoint"), _words),
    "exclude-layers": (("cache", "layers", "exclude"), _layers),
    "generation": (("tuning", "generation"), _number),
    "hardware-limit": (("tuning", "hardwareLimit"), _number),
    "ranks": (("tuning", "ranks"), _number),
    "tuning-policy": (("tuning", "policy"), _policy),
}
