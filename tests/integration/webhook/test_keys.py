"""An adopted pod has the key of an InferenceDeployment with the same pod, despite the API server's defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.kubectl import Kubectl
from support.docs import tables
from tunecast_core.key import KEY_VERSION
from tunecast_operator.adoption.adopted import adopted
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.engine import engine_of
from tunecast_operator.identity import key_of
from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.runtime.cluster import Object
from tunecast_operator.webhook.inject import Surroundings, inject
from tunecast_operator.webhook.review import patch

pytestmark = pytest.mark.integration
NAMESPACE = "adopted-keys"
PODS = Path(__file__).resolve().parents[2] / "data" / "pods"
WORKS = [
    name.strip("`") for name, _, outcome in tables("compatibility.md")["Pods"] if not outcome.startswith("refused")
]
AROUND = Surroundings(InitContainer("localhost/init:1"), {}, lambda _namespace: {}, lambda _namespace, _key: {})


@pytest.fixture(scope="module")
def kubectl(kubernetes: Kubectl) -> Kubectl:
    kubernetes("create", "namespace", NAMESPACE)
    kubernetes("wait", "--for=create", "serviceaccount/default", "--namespace", NAMESPACE, "--timeout=60s")
    for handler in ("amd", "nvidia"):  # as GPU operators make them
        found = {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": handler},
            "handler": handler,
        }
        kubernetes("apply", "--filename=-", stdin=json.dumps(found))
    pods = [pasted(name)[1]["spec"] for name in WORKS]
    for account in {pod["serviceAccountName"] for pod in pods if "serviceAccountName" in pod}:
        kubernetes("create", "serviceaccount", account, "--namespace", NAMESPACE)
    for priority in {pod["priorityClassName"] for pod in pods if "priorityClassName" in pod}:
        kubernetes("create", "priorityclass", priority, "--value=1")
    return kubernetes


def pasted(name: str) -> tuple[InferenceDeploymentSpec, Object]:
    """The spec with the pod pasted, and the pod that a controller creates of it with the label."""
    template, *more = yaml.safe_load_all((PODS / f"{name}.yaml").read_text())
    spec = InferenceDeploymentSpec.model_validate({"template": template, **(more[0] if more else {})})
    annotations = dict((template.get("metadata") or {}).get("annotations") or {})
    if spec.engine.container:
        annotations["tunecast.io/container"] = spec.engine.container
    if spec.engine.entrypoint:
        annotations["tunecast.io/entrypoint"] = json.dumps(spec.engine.entrypoint)
    metadata = {"name": "replica-0", "namespace": NAMESPACE, "labels": {"tunecast.io/inject": "true"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "annotations": annotations}}
    return spec, {**pod, "spec": template["spec"]}


def created(kubectl: Kubectl, pod: Object) -> Object:
    """Returns the pod as the API server would store it."""
    found: dict[str, Any] = json.loads(
        kubectl("create", "--dry-run=server", "--output=json", "--filename=-", stdin=json.dumps(pod))
    )
    return found


@pytest.mark.parametrize("name", WORKS)
def test_the_adopted_pod_has_the_key_of_an_inference_deployment(kubectl: Kubectl, name: str) -> None:
    spec, pod = pasted(name)
    kept = created(kubectl, pod)
    found = adopted(kept, {}, {})
    assert found.key == key_of(spec, engine_of(spec.template, spec.engine), KEY_VERSION)


def test_volumes_make_no_difference_to_the_key(kubectl: Kubectl) -> None:
    spec, pod = pasted("vllm-docs-gpu")
    sources: list[Object] = [
        {"configMap": {"name": "templates"}},
        {"hostPath": {"path": "/models"}},
        {"persistentVolumeClaim": {"claimName": "weights"}},
        {"projected": {"sources": [{"configMap": {"name": "more", "items": [{"key": "a", "path": "a"}]}}]}},
        {"image": {"reference": "registry.example/weights:1"}},
        {"nfs": {"server": "files.example", "path": "/"}},
    ]
    (container,) = pod["spec"]["containers"]
    for number, source in enumerate(sources):
        pod["spec"].setdefault("volumes", []).append({"name": f"more-{number}", **source})
        container.setdefault("volumeMounts", []).append({"name": f"more-{number}", "mountPath": f"/more/{number}"})
    found = adopted(created(kubectl, pod), {}, {})
    template = {**spec.template, "spec": pod["spec"]}
    assert found.key == key_of(
        spec.model_copy(update={"template": template}), engine_of(template, spec.engine), KEY_VERSION
    )


@pytest.mark.parametrize("name", WORKS)
def test_the_api_server_takes_the_injected_pod_and_a_second_injection_changes_nothing(
    kubectl: Kubectl, name: str
) -> None:
    _, pod = pasted(name)
    kept = created(kubectl, pod)
    once = inject(kept, NAMESPACE, AROUND)
    taken = created(kubectl, {**pod, "metadata": once["metadata"], "spec": once["spec"]})
    assert taken["spec"]["initContainers"][-1]["name"] == "tunecast-init"
    assert adopted(taken, {}, {}).key == once["metadata"]["labels"]["tunecast.io/key"]
    assert not list(patch(once, inject(once, NAMESPACE, AROUND)))
    assert not list(patch(taken, inject(taken, NAMESPACE, AROUND)))
