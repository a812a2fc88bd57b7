"""What all API models share: camelCase on the wire, frozen in Python, and durations."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Object = dict[str, Any]
FREE = {"x-kubernetes-preserve-unknown-fields": True}
NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
DURATION = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, alias_generator=to_camel, extra="ignore")


Duration = Annotated[str, Field(pattern=DURATION, min_length=2, max_length=16)]


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules with their messages, for ``json_schema_extra``."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def seconds(duration: str) -> float:
    """"1h30m" -> 5400."""
    amounts = re.findall(r"(\d+)([hms])", duration)
    return float(sum(int(amount) * {"h": 3600, "m": 60, "s": 1}[unit] for amount, unit in amounts))
