"""Generates the CRDs from the models: ``python -m tunecast_operator.api.crd --write | --check``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tunecast_operator.api.groups import GROUP, VERSION
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.api.kubernetes_types import MARK
from tunecast_operator.api.model import rules
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.api.status import InferenceDeploymentStatus, StartupCacheStatus

Schema = dict[str, Any]
DIRECTORY = Path(__file__).resolve().parents[3] / "charts" / "tunecast" / "files" / "crds"
_DROPPED = {"title", "$defs", "additionalProperties"}
_NAME_RULES = rules(
    (
        "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
        "metadata.name must be a DNS label of at most 40 characters that starts with a letter",
    ),
)
# Child objects are named after the StartupCache: a name that a user chose could be that of another's Service or Secret.
_CACHE_NAME_RULES = rules(
    (
        "self.metadata.name.matches('^[a-z][-a-z0-9]{0,28}-[0-9a-f]{10}$')",
        "StartupCaches are created and named by Tunecast: create an InferenceDeployment instead",
    ),
)


def column(name: str, path: str, description: str, kind: str = "string", **more: Any) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, "description": description, **more}


AGE = column("Age", ".metadata.creationTimestamp", "Time since the object was created.", "date")


def structural(model: type[BaseModel]) -> Schema:
    """Returns the model's JSON schema in Kubernetes' structural form: references inlined, no nulls, no titles."""
    schema = model.model_json_schema(by_alias=True)
    found: Schema = _inline(schema, schema.get("$defs", {}))
    return found


def _inline(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict) or node.get("x-kubernetes-int-or-string"):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        return _inline({**target, **{k: v for k, v in node.items() if k != "$ref"}}, definitions)
    if "anyOf" in node:  # a type or null: Kubernetes drops nulls by itself
        (kept,) = (option for option in node["anyOf"] if option.get("type") != "null")
        return _inline({**kept, **{k: v for k, v in node.items() if k != "anyOf"}}, definitions)
    return _node(node, definitions)


def _node(node: Schema, definitions: Schema) -> Schema:
    found: Schema = {}
    for name, value in node.items():
        if name == "properties":
            found[name] = {field: _inline(schema, definitions) for field, schema in value.items()}
        elif name == "const":
            found["enum"] = [value]
        elif name == "additionalProperties" and isinstance(value, dict):
            found[name] = _inline(value, definitions)
        elif name == "default":
            found |= {} if value is None else {name: value}
        elif name not in _DROPPED:
            found[name] = _inline(value, definitions)
    return found


def defaulted(schema: Schema) -> Schema:
    """Gives every optional object whose fields are all optional the default {}, so that their defaults apply.

    Kubernetes' own types stay as they are: an empty affinity differs from an absent one.
    """
    if MARK in schema:
        return schema
    properties = {name: defaulted(field) for name, field in schema.get("properties", {}).items()}
    for name, field in properties.items():
        optional = name not in schema.get("required", ()) and "required" not in field
        ours = field.get("type") == "object" and field.get("properties") and MARK not in field
        if ours and optional:
            properties[name] = {"default": {}, **field}
    return {**schema, "properties": properties} if properties else schema


def unmarked(schema: Any) -> Any:
    """Returns the schema without MARK, which the API server doesn't know."""
    if isinstance(schema, dict):
        return {name: unmarked(value) for name, value in schema.items() if name != MARK}
    return schema


def crd(names: Schema, spec: type[BaseModel], status: type[BaseModel], columns: list[Schema], extra: Schema) -> Schema:
    """Returns one CustomResourceDefinition.

    Args:
        names: kind, plural and short names.
        spec: the model of the spec.
        status: the model of the status.
        columns: columns that ``kubectl get`` prints.
        extra: subresources and rules that only this kind has.
    """
    schema = {
        "type": "object",
        "description": (spec.__doc__ or "").strip(),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": unmarked(defaulted(structural(spec))),
            "status": structural(status),
        },
        **extra.get("rules", {}),
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, **extra.get("subresources", {})},
        "additionalPrinterColumns": columns,
    }
    kind = names["kind"]
    singular = {"singular": kind.lower(), "listKind": f"{kind}List", "categories": ["tunecast"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": {**names, **singular}, "versions": [version]},
    }


_SECONDS = [
    column("Cold", ".status.cold", "Duration of a cold start, as the tuning Job measured it."),
    column("Warm", ".status.warm", "Duration of a warm start, as the tuning Job measured it."),
]
_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def inference_deployments() -> Schema:
    """Returns the CRD of InferenceDeployment."""
    names = {"kind": "InferenceDeployment", "plural": "inferencedeployments", "shortNames": ["infd"]}
    columns = [
        column("Model", ".status.model", "Model that the engine serves."),
        column("Ready", ".status.readyReplicas", "Number of serving pods that are ready.", "integer"),
        column("Desired", ".status.desiredReplicas", "Number of serving pods that are asked for.", "integer"),
        column("Cache", ".status.cache", "Start that a new replica gets now: Hit, Tuning, Cold or Failed."),
        *_SECONDS,
        AGE,
    ]
    extra = {"subresources": {"scale": _SCALE}, "rules": _NAME_RULES}
    return crd(names, InferenceDeploymentSpec, InferenceDeploymentStatus, columns, extra)


def startup_caches() -> Schema:
    """Returns the CRD of StartupCache."""
    names = {"kind": "StartupCache", "plural": "startupcaches", "shortNames": ["stc"]}
    columns = [
        column("Model", ".spec.model", "Model that the engine serves."),
        column("GPU", ".status.madeWith.gpu", "Product name of the GPU that the bundle was made on."),
        column("State", ".status.state", "Current phase of the StartupCache, such as Tuning or Ready."),
        column("Size", ".status.size", "Size of the published bundle."),
        *_SECONDS,
        column("Speedup", ".status.speedup", "Factor by which a start is faster with the bundle."),
        column("Used by", ".status.users", "InferenceDeployments and workloads that use it, in short.", priority=1),
        column("Verdict", ".status.verdict", "Verdict of the proof: Hit, Partial or Miss.", priority=1),
        AGE,
    ]
    return crd(names, StartupCacheSpec, StartupCacheStatus, columns, {"rules": _CACHE_NAME_RULES})


def crds() -> dict[str, Schema]:
    """Returns both CRDs by file name."""
    return {"inferencedeployments.json": inference_deployments(), "startupcaches.json": startup_caches()}


def text(found: Schema) -> str:
    """Returns the content of a CRD's file."""
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def main(arguments: list[str], directory: Path = DIRECTORY) -> int:
    """``--write`` writes the files; ``--check`` returns 1 where they are stale."""
    files = {directory / name: text(found) for name, found in crds().items()}
    if arguments == ["--write"]:
        for path, content in files.items():
            path.write_text(content)
        return 0
    stale = [path.name for path, content in files.items() if not path.exists() or path.read_text() != content]
    if stale:
        sys.stderr.write(f"stale CRDs: {', '.join(stale)}; run `make crds`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
