"""Decodes a pod into its type, as the API server does before it calls a webhook.

Wrong types can't reach a webhook, since the API server refuses them. Here, fields with wrong types are left out,
so that an input with one can still be used.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from kubernetes.client import models

INT32, INT64 = 2**31, 2**63
_TYPE = re.compile(r"(list|dict)[\[(](?:str, )?(.+)[\])]")
_INT64 = {"tolerationSeconds", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "runAsUser", "runAsGroup"}
# Fields that are sent even if they are empty, by type.
_REQUIRED = {
    "CoreV1ResourceClaim": "name", "V1ConfigMapKeySelector": "key", "V1Container": "name resources",
    "V1ContainerPort": "containerPort", "V1ContainerResizePolicy": "resourceName restartPolicy",
    "V1EnvVar": "name", "V1EphemeralContainer": "name resources", "V1FileKeySelector": "key path volumeName",
    "V1HTTPGetAction": "port", "V1HostPathVolumeSource": "path", "V1KeyToPath": "key path", "V1NFSVolumeSource":
    "path server", "V1NodeSelector": "nodeSelectorTerms", "V1NodeSelectorRequirement": "key operator",
    "V1ObjectFieldSelector": "fieldPath", "V1OwnerReference": "apiVersion kind name uid",
    "V1PersistentVolumeClaimVolumeSource": "claimName", "V1Pod": "metadata spec", "V1PodAffinityTerm": "topologyKey",
    "V1PodOS": "name", "V1PodResourceClaim": "name", "V1PodSchedulingGate": "name", "V1PodSpec": "containers",
    "V1PreferredSchedulingTerm": "preference weight", "V1ResourceFieldSelector": "resource",
    "V1SecretKeySelector": "key", "V1ServiceAccountTokenProjection": "path", "V1TCPSocketAction": "port",
    "V1TopologySpreadConstraint": "maxSkew topologyKey whenUnsatisfiable", "V1Volume": "name",
    "V1VolumeDevice": "devicePath name", "V1VolumeMount": "mountPath name",
}  # fmt: skip


class WrongTypeError(Exception):
    """The API server would refuse the value."""


def pod(value: Any) -> dict[str, Any]:
    """Returns the pod that the API server would send for ``value``."""
    found: dict[str, Any] = _decoded("V1Pod", value if isinstance(value, dict) else {}, "")
    return found


def text(value: str) -> str:
    """Returns ``value`` as Go's JSON decoder reads it, which replaces surrogates."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _decoded(kind: str, value: Any, field: str) -> Any:
    """Returns the value of type ``kind``.

    Raises:
        WrongTypeError: it has another type.
    """
    if match := _TYPE.fullmatch(kind):
        return _items(match.group(1), match.group(2), value)
    if kind in _SIMPLE:
        return _simple(kind, value, field)
    if value is not None and not isinstance(value, dict):
        raise WrongTypeError
    required = _REQUIRED.get(kind, "").split()
    found: dict[str, Any] = {}
    for name, type_name in _fields(kind).items():
        try:
            part = _decoded(type_name, value[name], name) if value and value.get(name) is not None else None
        except WrongTypeError:
            part = None
        if part is not None or name in required:
            found[name] = _empty(type_name) if part is None else part
    return found


def _empty(kind: str) -> Any:
    """Returns the value of a field of type ``kind`` that nobody set."""
    if _TYPE.fullmatch(kind):
        return None
    return 0 if kind == "object" else _decoded(kind, None, "")


def _items(collection: str, kind: str, value: Any) -> Any:
    if collection == "list" and isinstance(value, list):
        return [_decoded(kind, one, "") for one in value] or None
    if collection == "dict" and isinstance(value, dict):
        return {text(name): _decoded(kind, one, "") for name, one in value.items()} or None
    raise WrongTypeError


_SIMPLE = {"str", "int", "float", "bool", "datetime", "object", "bytes"}


def _simple(kind: str, value: Any, field: str) -> Any:
    if value is None:
        return {"str": "", "int": 0, "bool": False}.get(kind)
    if kind == "object" and isinstance(value, str):  # IntOrString, or anything
        return text(value)
    if kind == "str" and isinstance(value, str):
        return text(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    limit = INT64 if field in _INT64 else INT32
    if (kind in {"int", "object"} and whole and -limit <= value < limit) or (
        kind == "bool" and isinstance(value, bool)
    ):
        return value
    raise WrongTypeError


@cache
def _fields(kind: str) -> dict[str, str]:
    """Returns the JSON names of the fields of a type, with their types."""
    model = getattr(models, kind)
    return {model.attribute_map[name]: type_name for name, type_name in model.openapi_types.items()}
