"""Schemas of Kubernetes' own types, taken from its OpenAPI document. They are built only when CRDs are generated."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from tunecast_operator.api.kubernetes_openapi import FILE
from tunecast_operator.api.model import Object

Extend = Callable[[Object], None]
MARK = "x-tunecast-type"  # names the Kubernetes type of a schema; removed before the CRD is written
INT_OR_STRING: Object = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
_DECIMAL = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)"
QUANTITY = {**INT_OR_STRING, "pattern": rf"^[-+]?{_DECIMAL}([KMGTPE]i|[numkMGTPE]|[eE][-+]?{_DECIMAL})?$"}
_SCALARS: Mapping[str, Object] = {
    "IntOrString": INT_OR_STRING,
    "Quantity": QUANTITY,
    "Time": {"type": "string", "format": "date-time"},
}


def of(kind: str, /, **changes: Object) -> Extend:
    """Returns a function for ``json_schema_extra`` that sets the schema of a Kubernetes type, such as Affinity.

    Each keyword of ``changes`` is the path of a field, with __ between field names. Its value is merged into the
    field's schema: demands that Tunecast makes beyond those of Kubernetes.
    """
    return lambda schema: _fill(schema, schema_of(kind, changes))


def list_of(kind: str, more: Mapping[str, Any], /) -> Extend:
    """Returns the same for a list of objects of that type. ``more`` is merged into the schema of the list."""
    return lambda schema: _fill(schema, {"type": "array", "items": schema_of(kind), **more})


def _fill(schema: Object, found: Object) -> None:
    """Fills in a schema. The field's own description stays, since it is more specific than that of the type."""
    schema.update({**found, **{name: schema[name] for name in ("description",) if name in schema}})


def schema_of(name: str, changes: Mapping[str, Object] | None = None) -> Object:
    """Returns the schema of a type with all references inlined. The API server prunes fields that it doesn't list."""
    schema = _inlined({"$ref": name})
    for path, change in (changes or {}).items():
        _at(schema, path.split("__")).update(change)
    return schema


def _at(schema: Object, path: list[str]) -> Object:
    for field in path:
        properties = schema.get("properties") or schema["items"]["properties"]
        schema = properties[field]
    return schema


@functools.cache
def _definitions() -> Object:
    found: Object = json.loads(FILE.read_text())
    return found


def _inlined(node: Object) -> Object:
    if "$ref" in node:
        name = node["$ref"]
        more = {field: value for field, value in node.items() if field != "$ref"}
        kind = dict(_SCALARS[name]) if name in _SCALARS else {**_inlined(_definitions()[name]), MARK: name}
        return {**kind, **more}
    found = {field: value for field, value in node.items() if field != "default"}
    if "properties" in node:
        found["properties"] = {field: _inlined(schema) for field, schema in node["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if isinstance(node.get(inner), dict):
            found[inner] = _inlined(node[inner])
    if "x-kubernetes-list-map-keys" in node:  # Kubernetes demands that each key is required or has a default
        own = _definitions()[node["items"]["$ref"]]
        for key in set(node["x-kubernetes-list-map-keys"]) - {*own.get("required", ())}:
            found["items"]["properties"][key]["default"] = own["properties"][key]["default"]
    return found
