"""Keeps what CRDs need of Kubernetes' OpenAPI document: the pod template and the Deployment's strategy.

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
# Of the template's metadata: all else is the API server's own.
METADATA = ("annotations", "creationTimestamp", "finalizers", "generateName", "labels", "name", "namespace")
# A template can't have them, and they double its size.
LEFT_OUT = {("PodSpec", "ephemeralContainers")}
_KEPT = {
    "additionalProperties", "description", "enum", "format", "items", "properties", "required", "type",
    "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type",
}  # fmt: skip


def reduced(document: Object) -> Object:
    """The schemas that the roots need, by their short names; references are ``{"$ref": name}``."""
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
    """A schema without what a CRD can't say; what must be there to tell a list's items apart keeps its default."""
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
