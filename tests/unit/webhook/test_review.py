"""Answers to the API server: every pod is allowed, and the patch has the result of inject."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import jsonpatch
import pytest

from support.adopted import NAMESPACE, adopted_pod, around
from tunecast_operator.webhook.inject import inject
from tunecast_operator.webhook.review import Admission, ReviewError, answer, read_review


def review(pod: Any, **request: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "review-uid", "namespace": NAMESPACE, "operation": "CREATE", "object": pod, **request},
    }


def mounting(volume: str) -> dict[str, Any]:
    mount = {"name": volume, "mountPath": "/elsewhere"}
    return {"name": "engine", "command": ["vllm", "serve", "m"], "volumeMounts": [mount]}


def patched(pod: dict[str, Any], found: Admission) -> dict[str, Any]:
    response = found.review["response"]
    assert response["allowed"] is True
    assert response["uid"] == "review-uid"
    changes = json.loads(base64.b64decode(response["patch"])) if "patch" in response else []
    made: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(pod), changes)
    return made


def test_the_patch_injects() -> None:
    pod = adopted_pod()
    found = answer(review(pod), around())
    assert patched(pod, found) == inject(pod, NAMESPACE, around())
    assert found.result == "Injected"
    assert "warnings" not in found.review["response"]


def test_a_second_call_has_no_patch() -> None:
    once = inject(adopted_pod(), NAMESPACE, around())
    assert "patch" not in answer(review(once), around()).review["response"]


def test_a_pod_that_can_not_be_described_is_created_with_the_reason() -> None:
    pod = adopted_pod("--config=/etc/vllm.yaml")
    found = answer(review(pod), around())
    made = patched(pod, found)
    assert found.result == "Refused"
    assert made["spec"] == pod["spec"]
    assert made["metadata"]["annotations"]["tunecast.io/not-injected"].startswith(
        "InvalidSpec: container engine: --config"
    )
    assert "starts cold" in found.review["response"]["warnings"][0]


def test_a_pod_that_another_injector_made_unreadable_loses_what_was_added() -> None:
    pod = inject(adopted_pod(), NAMESPACE, around())
    pod["spec"]["containers"][0]["args"] = ["--config=/etc/vllm.yaml"]
    made = patched(pod, answer(review(pod), around()))
    assert made["spec"]["initContainers"] == []
    assert "tunecast.io/key" not in made["metadata"]["labels"]
    assert "tunecast.io/injected" not in made["metadata"]["annotations"]


@pytest.mark.parametrize(
    "labels",
    [{}, {"tunecast.io/inject": "false"}, {"tunecast.io/inject": "true", "tunecast.io/inference-deployment": "a"}],
)
def test_pods_that_do_not_ask_are_left_alone(labels: dict[str, str]) -> None:
    pod = adopted_pod()
    pod["metadata"]["labels"] = labels
    found = answer(review(pod), around())
    assert (found.result, patched(pod, found)) == ("Ignored", pod)


@pytest.mark.parametrize("pod", [None, [], {"metadata": {}}, {"metadata": None, "spec": {}}, {"spec": []}])
def test_what_is_no_pod_is_allowed(pod: Any) -> None:
    assert answer(review(pod), around()).review["response"] == {"uid": "review-uid", "allowed": True}


def test_a_bug_of_ours_lets_the_pod_through() -> None:
    pod = adopted_pod()
    pod["spec"]["containers"] = "no list"
    found = answer(review(pod), around())
    assert found.result == "Failed"
    assert "a bug in Tunecast" in patched(pod, found)["metadata"]["annotations"]["tunecast.io/not-injected"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", []), ("labels", "no"), ("annotations", ["no"]), ("annotations", "no"),
    ],
)  # fmt: skip
def test_metadata_of_a_wrong_type_is_left_alone(field: str, value: Any) -> None:
    pod = adopted_pod()
    pod["metadata"][field] = value
    assert answer(review(pod), around()).review["response"] == {"uid": "review-uid", "allowed": True}


@pytest.mark.parametrize("annotations", [{}, {"tunecast.io/injected": "true"}])
@pytest.mark.parametrize("volumes", ["no list", [None], [{}], 7])
def test_a_bug_of_ours_never_raises(annotations: dict[str, str], volumes: Any) -> None:
    pod = adopted_pod(annotations=annotations)
    pod["spec"]["volumes"] = volumes
    assert answer(review(pod), around()).result == "Failed"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"containers": None}, "it is unclear which container runs vLLM"),
        ({"containers": [{"name": "", "resources": {}}]}, "a name has 1 to 63"),
        ({"containers": [{"name": "v" * 64, "command": ["vllm", "serve", "m"]}]}, "a name has 1 to 63"),
        ({"containers": [{"name": " vllm", "command": ["vllm", "serve", "m"]}]}, "a name has 1 to 63"),
        ({"initContainers": [{"name": "engine"}]}, "two have this name"),
        ({"volumes": [{"name": "a"}, {"name": "a"}]}, "two have this name"),
        ({"os": {"name": "windows"}}, "need Linux"),
        ({"containers": [mounting("tunecast-cache")]}, "names that begin with tunecast- are Tunecast's own"),
        ({"containers": [{**mounting("a"), "command": ["vllm", "serve", "m", "--host=127.0.0.1"]}]}, "startupProbe"),
    ],
)
def test_a_pod_that_the_changes_would_make_invalid_is_not_injected(changes: dict[str, Any], words: str) -> None:
    pod = adopted_pod()
    pod["spec"] |= changes
    first = answer(review(pod), around())
    assert first.result == "Refused"
    assert words in first.review["response"]["warnings"][0]
    assert "patch" not in answer(review(patched(pod, first)), around()).review["response"]


@pytest.mark.parametrize("ranks", ["2", "many"], ids=["injected", "refused"])
def test_annotations_never_grow_beyond_what_the_api_server_accepts(ranks: str) -> None:
    pod = adopted_pod(annotations={"tunecast.io/ranks": ranks, "large": ""})
    free = 2**18 - sum(len(name + value) for name, value in pod["metadata"]["annotations"].items())
    pod["metadata"]["annotations"]["large"] = "x" * free
    found = answer(review(pod), around())
    assert (found.result, patched(pod, found)) == ("Refused", pod)
    assert "shorten them" in found.review["response"]["warnings"][0]


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"null", b"[" * 10**5])
def test_a_body_that_is_no_json_object_is_an_error(body: bytes) -> None:
    with pytest.raises(ReviewError):
        read_review(body)


@pytest.mark.parametrize("body", [{}, {"request": None}, {"request": {"uid": 7}}])
def test_what_is_no_review_is_an_error(body: dict[str, Any]) -> None:
    with pytest.raises(ReviewError):
        answer(body, around())
