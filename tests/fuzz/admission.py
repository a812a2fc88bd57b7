"""Targets of fuzzing in the webhook, which reads pods and settings of any tenant."""

from __future__ import annotations

import base64
import copy
import json
from contextlib import suppress
from typing import Any

import jsonpatch

from fuzz import decoded
from support.adopted import NAMESPACE, adopted_pod
from tunecast_operator.adoption.names import INJECT_LABEL
from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.webhook.inject import Surroundings
from tunecast_operator.webhook.review import FAILED, IGNORED, Admission, ReviewError, answer, read_review

ENVIRONMENT = {"PYTHONPYCACHEPREFIX": "/var/cache/tunecast/pycache"}


def around(chart: dict[str, str] | None = None, defaults: dict[str, str] | None = None) -> Surroundings:
    """Returns the information of a webhook whose every key has a ready bundle."""
    return Surroundings(InitContainer("init:1"), chart or {}, lambda _n: defaults or {}, lambda _n, _k: ENVIRONMENT)


def review(data: bytes) -> None:
    """Answers any bytes: the answer is JSON, and only a ReviewError comes out."""
    with suppress(ReviewError):
        json.dumps(answer(read_review(data), around()).review)


def admission(data: bytes) -> None:
    """Answers a pod of the types that an API server sends. Every pod is allowed."""
    value = _json(data)
    pod = decoded.pod(value)
    _label(pod)
    checked(pod, around())


def settings(data: bytes) -> None:
    """Answers a pod with any annotations, in a namespace and with a chart with any defaults."""
    value = _json(data)
    found = value if isinstance(value, dict) else {}
    chart, defaults = _strings(found.get("chart")), _strings(found.get("defaults"))
    checked(adopted_pod(annotations=_strings(found.get("annotations"))), around(chart, defaults))


def checked(pod: dict[str, Any], known: Surroundings) -> tuple[str, dict[str, Any]]:
    """Answers the pod twice, and returns the result and the pod to create.

    Raises:
        AssertionError: the answer is due to a bug, or a second call changes more.
    """
    before = copy.deepcopy(pod)
    first = answer(_reviewed(pod), known)
    assert pod == before, "the pod of the request is not changed"
    assert first.result not in {FAILED, IGNORED}, first.review
    after = _patched(pod, first)
    second = answer(_reviewed(after), known)
    assert second.result == first.result, second.review
    assert "patch" not in second.review["response"], "a second call changes nothing"
    return first.result, after


def _reviewed(pod: dict[str, Any]) -> dict[str, Any]:
    return {"request": {"uid": "review", "namespace": NAMESPACE, "operation": "CREATE", "object": pod}}


def _patched(pod: dict[str, Any], found: Admission) -> dict[str, Any]:
    response = found.review["response"]
    assert response["allowed"] is True
    changes = json.loads(base64.b64decode(response["patch"])) if "patch" in response else []
    made: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(pod), changes)
    return made


def _label(pod: dict[str, Any]) -> None:
    """Gives the pod the label, without which it isn't sent."""
    labels = {n: v for n, v in pod["metadata"].get("labels", {}).items() if n != "tunecast.io/inference-deployment"}
    pod["metadata"]["labels"] = {**labels, INJECT_LABEL: "true"}


def _strings(value: Any) -> dict[str, str]:
    found = value if isinstance(value, dict) else {}
    return {decoded.text(n): decoded.text(v) for n, v in found.items() if isinstance(v, str)}


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
