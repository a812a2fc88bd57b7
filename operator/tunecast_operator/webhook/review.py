"""Answers AdmissionReviews. Every pod is allowed, even if it can't be injected. Pure."""

from __future__ import annotations

import base64
import json
import logging
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunecast_core.errors import TunecastError
from tunecast_operator.adoption.as_written import without_injection
from tunecast_operator.adoption.names import INJECT_LABEL, NOT_INJECTED_ANNOTATION
from tunecast_operator.identity import DEPLOYMENT_LABEL
from tunecast_operator.matching import matches
from tunecast_operator.webhook.inject import Surroundings, inject

log = logging.getLogger(__name__)
Object = Mapping[str, Any]
ANNOTATION_BYTES = 2**18  # maximum size of all annotations of an object
REASON_LENGTH = 1024  # maximum characters of the reason in the annotation
INJECTED, REFUSED, IGNORED, FAILED = "Injected", "Refused", "Ignored", "Failed"
RESULTS = (INJECTED, REFUSED, IGNORED, FAILED)


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer for the API server, and its result: Injected, Refused, Ignored or Failed."""

    review: dict[str, Any]
    result: str


def read_review(body: bytes) -> Object:
    """Parses the body of a request.

    Raises:
        ReviewError: it isn't a JSON object.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"the body can't be parsed: {error}") from error
    if not isinstance(found, dict):
        raise ReviewError("the body is no JSON object")
    return found


def answer(review: Object, around: Surroundings) -> Admission:
    """Answers one AdmissionReview of ``admission.k8s.io/v1``.

    A pod that can't be injected is created as it is, with the reason in an annotation.

    Raises:
        ReviewError: the object isn't an AdmissionReview.
    """
    request = review.get("request")
    if not isinstance(request, Mapping) or not isinstance(request.get("uid"), str):
        raise ReviewError("the body is no AdmissionReview with a request and its uid")
    pod = request.get("object")
    if not isinstance(pod, Mapping) or not _is_adopted(pod):
        return Admission(_response(request, [], ""), IGNORED)
    changed, why, result = _changed(pod, str(request.get("namespace") or ""), around)
    return Admission(_response(request, list(patch(pod, changed)), why), result)


class ReviewError(TunecastError):
    reason = "BadReview"


def _is_adopted(pod: Object) -> bool:
    metadata = pod.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(pod.get("spec"), Mapping):
        return False
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if not isinstance(labels, Mapping) or not isinstance(annotations, Mapping):
        return False
    return labels.get(INJECT_LABEL) == "true" and DEPLOYMENT_LABEL not in labels


def _changed(pod: Object, namespace: str, around: Surroundings) -> tuple[Object, str, str]:
    """Returns the pod to create, the reason why it isn't injected, and the result."""
    try:
        found = _injected(pod, namespace, around)
    except Exception as error:  # a bug must not keep pods from being created
        log.exception("a pod in %s could not be injected: a bug in Tunecast", namespace)
        why = f"InternalError: {type(error).__name__}: a bug in Tunecast. The webhook's log has more"
        found = _annotated(pod, why), why, FAILED
    return found if _fits(found[0]) else (pod, "its annotations would be larger than 256 KiB: shorten them", REFUSED)


def _fits(pod: Object) -> bool:
    """Whether the API server accepts the annotations by their size."""
    annotations = pod["metadata"].get("annotations") or {}
    size = sum(len(f"{name}{value}".encode(errors="replace")) for name, value in annotations.items())
    return size <= ANNOTATION_BYTES


def _injected(pod: Object, namespace: str, around: Surroundings) -> tuple[Object, str, str]:
    try:
        return inject(pod, namespace, around), "", INJECTED
    except TunecastError as error:  # then the pod also loses the changes of an earlier call
        return _annotated(without_injection(pod), f"{error.reason}: {error}"), str(error), REFUSED


def _annotated(pod: Object, why: str) -> Object:
    """Returns the pod with the reason in an annotation."""
    metadata = pod["metadata"]
    annotations = {**(metadata.get("annotations") or {}), NOT_INJECTED_ANNOTATION: why[:REASON_LENGTH]}
    return {**pod, "metadata": {**metadata, "annotations": annotations}}


def patch(before: Object, after: Object) -> Iterator[dict[str, Any]]:
    """Yields a JSON patch that replaces each field of metadata and spec that differs.

    A field of the spec doesn't differ if it only lacks defaults that the API server has set.
    """
    for part, same in (("metadata", operator.eq), ("spec", matches)):
        for name in sorted(before[part].keys() | after[part].keys()):
            old, new = before[part].get(name), after[part].get(name)
            if (not old and not new) or same(new, old):
                continue
            path = f"/{part}/{name.replace('~', '~0').replace('/', '~1')}"
            gone = name not in after[part]
            yield {"op": "remove", "path": path} if gone else {"op": "add", "path": path, "value": new}


def _response(request: Object, changes: list[dict[str, Any]], why: str) -> dict[str, Any]:
    response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
    if changes:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(changes).encode()).decode()}
    if why:
        response["warnings"] = [f"tunecast: the pod starts cold: {why}"[:REASON_LENGTH]]
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
