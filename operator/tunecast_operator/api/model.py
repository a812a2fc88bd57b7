"""Base classes and field types of the API models: camelCase on the wire, frozen in Python."""

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
    """Base class of status models. Unknown fields are kept: a newer version may have written them, and may return."""

    model_config = ConfigDict(extra="allow")


def rules(*pairs: tuple[str, str], field: str | None = None) -> dict[str, Any]:
    """Returns CEL rules with their messages for ``json_schema_extra``. Errors name ``field``, a path in the schema."""
    where = {} if field is None else {"fieldPath": field}
    return {"x-kubernetes-validations": [{"rule": rule, "message": message, **where} for rule, message in pairs]}


def ruled(schema: Mapping[str, Any]) -> ConfigDict:
    """Returns the configuration of a model whose schema has keywords that pydantic doesn't know."""
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
    """Returns the length of a Duration in seconds: 5400 for 1h30m."""
    amounts = re.findall(r"(\d+)([hms])", duration)
    return float(sum(int(amount) * {"h": 3600, "m": 60, "s": 1}[unit] for amount, unit in amounts))
