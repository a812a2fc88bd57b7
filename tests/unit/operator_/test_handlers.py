"""Which objects a watch event enqueues."""

from __future__ import annotations

from typing import Any

import pytest

from tunecast_operator.runtime.handlers import concerned
from tunecast_operator.runtime.workqueue import Item

METADATA = {"namespace": "team", "name": "qwen"}
DEPLOYMENT = {"tunecast.io/inference-deployment": "qwen"}
CACHE = {"tunecast.io/startup-cache": "qwen-0123456789"}


def body(kind: str, name: str = "qwen", labels: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {**METADATA, "name": name, "labels": labels or {}}, "status": status}


@pytest.mark.parametrize(
    ("changed", "enqueued"),
    [
        (body("InferenceDeployment"), {("InferenceDeployment", "qwen")}),
        (
            body("InferenceDeployment", startupCaches=[{"name": "qwen-0123456789", "state": "Ready"}]),
            {("InferenceDeployment", "qwen"), ("StartupCache", "qwen-0123456789")},
        ),
        (
            body("StartupCache", "qwen-0123456789", referredBy=["qwen"]),
            {("StartupCache", "qwen-0123456789"), ("InferenceDeployment", "qwen")},
        ),
        (body("Deployment", labels=DEPLOYMENT), {("InferenceDeployment", "qwen")}),
        (body("Job", labels=CACHE), {("StartupCache", "qwen-0123456789")}),
        (body("ConfigMap", "tunecast-trust"), {("ConfigMap", "tunecast-trust")}),
        (body("ConfigMap", "something-else"), set()),
        (body("Pod"), set()),
    ],
)
def test_a_change_enqueues_the_objects_it_concerns(changed: dict[str, Any], enqueued: set[tuple[str, str]]) -> None:
    assert set(concerned(changed)) == {Item(kind, "team", name) for kind, name in enqueued}
