"""What all API models share: camelCase on the wire, frozen in Python, durations, and rules in CEL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Object = dict[str, Any]
HARDWARE = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
DURATION = r"^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$"


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, alias_generator=to_camel, extra="ignore")


class StatusModel(Model):
    """A part of a status. It keeps the fields of a newer version, which may run again after this one."""

    model_config = ConfigDict(extra="allow")


def rules(*pairs: tuple[str, str], field: str | None = None) -> dict[str, Any]:
    """CEL rules with their messages, for ``json_schema_extra``; errors are shown at ``field``, a path below."""
    where = {} if field is None else {"fieldPath": field}
    return {"x-kubernetes-validations": [{"rule": rule, "message": message, **where} for rule, message in pairs]}


def ruled(schema: Mapping[str, Any]) -> ConfigDict:
    """The configuration of a model whose schema has something that pydantic doesn't know."""
    return ConfigDict(**{**Model.model_config, "json_schema_extra": dict(schema)})


Duration = Annotated[
    str,
    Field(
        pattern=DURATION,
        min_length=2,
        max_length=18,
        json_schema_extra=rules(
            ("duration(self) > duration('0s')", "a time must be longer than 0s: write it as 90s, 60m or 1h30m")
        ),
    ),
]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]


def seconds(duration: str) -> float:
    """Of a Duration: 5400 for 1h30m."""
    amounts = re.findall(r"(\d+)([hms])", duration)
    return float(sum(int(amount) * {"h": 3600, "m": 60, "s": 1}[unit] for amount, unit in amounts))


def text(description: str, limit: int, least: int = 1) -> Object:
    """The schema of a string of ``least`` to ``limit`` characters."""
    return {"type": "string", "description": description, "minLength": least, "maxLength": limit}
