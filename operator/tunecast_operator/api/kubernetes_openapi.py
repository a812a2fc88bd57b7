"""Extracts the schemas of pod templates and of the Deployment's strategy from Kubernetes' OpenAPI document.

``kubectl get --raw /openapi/v3/apis/apps/v1 | python -m tunecast_operator.api.kubernetes_openapi`` writes
``kubernetes_openapi.json`` beside this file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tunecast_operator.api.model import Object

FILE = Path(__file__).with_suffix(".json")
ROOTS = ("PodTemplateSpec", "DeploymentStrategy")
# Fields of the template's metadata; only the API server sets the others.
METADATA = ("annotations", "creationTimestamp", "finalizers", "generateName", "labels", "name", "namespace")
# A template can't have ephemeral containers, whose schema would double its size.
LEFT_OUT = {("PodSpec", "ephemeralContainers")}
_KEPT = {
    "additionalProperties", "description", "enum", "format", "items", "properties", "required", "type",
    "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type",
}  # fmt: skip


def reduced(document: Object) -> Object:
    """Returns the schemas that the roots need, by short name. References become ``{"$ref": name}``."""
    schemas = {name.rpartition(".")[2]: schema for name, schema in document["components"]["schemas"].items()}
    found: Object = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _schema(name, schemas[name], waiting)
    return found


def _schema(name: str, schema: Object, waiting: list[str]) -> Object:
    kept = dict(schema)
    if "properties" in schema:
        fields = METADATA if name == "ObjectMeta" else schema["properties"]
        kept["properties"] = {f: schema["properties"][f] for f in fields if (name, f) not in LEFT_OUT}
    reduced_schema: Object = _node(kept, waiting)
    return reduced_schema


def _node(node: Any, waiting: list[str]) -> Any:
    """Returns a schema without keywords that a CRD can't have. Defaults stay, since keys of list items need them."""
    if "allOf" in node:
        reference = _node(node["allOf"][0], waiting)
        return {**reference, **({"description": node["description"]} if "description" in node else {})}
    if "$ref" in node:
        waiting.append(node["$ref"].rpartition(".")[2])
        return {"$ref": waiting[-1]}
    found = {name: value for name, value in node.items() if name in _KEPT}
    if node.get("default") not in (None, {}, 0):
        found["default"] = node["default"]
    if "properties" in found:
        found["properties"] = {name: _node(field, waiting) for name, field in found["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if isinstance(found.get(inner), dict):
            found[inner] = _node(found[inner], waiting)
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(reduced(json.load(sys.stdin)), indent=1, sort_keys=True) + "\n")
