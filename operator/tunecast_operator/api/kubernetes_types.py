"""Schemas of Kubernetes' own types, as its client library describes them; made only where CRDs are generated."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from kubernetes.client import models

from tunecast_operator.api.model import Object

Extend = Callable[[Object], None]
MARK = "x-tunecast-type"  # of a schema that isn't ours, until the CRD is written
INT_OR_STRING: Object = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
QUANTITY = {**INT_OR_STRING, "pattern": r"^[0-9]+(\.[0-9]*)?([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?$"}
_PLAIN = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}
_QUANTITIES = {"divisor", "limits", "requests", "size_limit"}  # the library calls them strings
_REQUIRED = re.compile(r"Invalid value for `(\w+)`, must not be `None`")  # what its constructors raise
# Of what a pod has made for it: all else is the API server's.
_METADATA = (("annotations", "Its annotations."), ("labels", "Its labels."))


def of(kind: str, /, **properties: Object) -> Extend:
    """For ``json_schema_extra``: an object of type ``kind``, such as V1Affinity, with ``properties`` of ours."""
    return lambda schema: schema.update(schema_of(kind, properties))


def list_of(kind: str, more: Mapping[str, Any], /, **properties: Object) -> Extend:
    """The same for a list of them; ``more`` is of the list."""
    return lambda schema: schema.update({"items": schema_of(kind, properties), **more})


def schema_of(name: str, properties: Mapping[str, Object] | None = None) -> Object:
    """Structural: what isn't in it isn't kept, so that nothing nests deeper than the type does."""
    if name == "V1ObjectMeta":
        return _object(
            name, {field: {**_kind(field, "dict[str, str]"), "description": text} for field, text in _METADATA}, set()
        )
    model = getattr(models, name)
    fields = {model.attribute_map[field]: _field(model, field, kind) for field, kind in model.openapi_types.items()}
    required = {model.attribute_map[field] for field in _REQUIRED.findall(inspect.getsource(model))}
    return _object(name, {**fields, **(properties or {})}, required)


def _object(name: str, properties: Mapping[str, Object], required: set[str]) -> Object:
    more = {"required": sorted(required)} if required else {}
    return {"type": "object", "properties": dict(properties), MARK: name, **more}


def _field(model: type, field: str, kind: str) -> Object:
    text = (inspect.getdoc(getattr(model, field).fget) or "").split("\n\n")[1]
    if text.startswith(":return"):  # the library lost the words of fields that are objects
        text = f"{field.replace('_', ' ').capitalize()}, as in a pod."
    return {**_kind(field, kind), "description": " ".join(text.replace("# noqa: E501", "").split())}


def _kind(field: str, kind: str) -> Object:
    """Of a type as the library writes it."""
    if inner := re.fullmatch(r"list\[(.*)\]", kind):
        return {"type": "array", "items": _kind("", inner[1])}
    if inner := re.fullmatch(r"dict\[str, (.*)\]", kind):
        return {"type": "object", "additionalProperties": _kind(field, inner[1])}
    if kind == "str" and field in _QUANTITIES:
        return QUANTITY
    if kind == "object":  # maxSurge and its like
        return INT_OR_STRING
    return {"type": _PLAIN[kind]} if kind in _PLAIN else schema_of(kind)
