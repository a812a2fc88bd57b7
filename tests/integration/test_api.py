"""Our CRDs on a real API server: defaults, refusals and their messages, scaling, explanations."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.engines import embedding, keyed
from harness import deploy
from harness.kubectl import CommandError, Kubectl, Object

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").rglob("*.yaml"))
CACHE = "/var/cache/tunecast"


def inference_deployment(name: str = "qwen3", **fields: Any) -> Object:
    """Returns a small InferenceDeployment; ``fields`` are paths with __ for dots."""
    found: Object = {
        "apiVersion": "tunecast.io/v1alpha2",
        "kind": "InferenceDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"spec": {"containers": [container()]}}},
    }
    for path, value in fields.items():
        *parents, last = path.split("__")
        place = found["spec"]
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return found


def container(name: str = "vllm", **fields: Any) -> Object:
    return {"name": name, "image": "vllm/vllm-openai:v0.26.0", "args": ["--model=Qwen/Qwen3-8B"], **fields}


def with_container(**fields: Any) -> Object:
    return inference_deployment(template__spec__containers=[container(**fields)])


def with_containers(*containers: Object, **fields: Any) -> Object:
    return inference_deployment(template__spec__containers=list(containers), **fields)


def startup_cache(name: str = "qwen3-8b-0123456789") -> Object:
    template = copy.deepcopy(inference_deployment()["spec"]["template"])
    return {
        "apiVersion": "tunecast.io/v1alpha2",
        "kind": "StartupCache",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": template, "model": "Qwen/Qwen3-8B", "key": "a" * 52, "keyVersion": 1},
    }


def accepted(kubectl: Kubectl, found: Object) -> Object:
    text = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(found))
    result: Object = json.loads(text)
    return result


def refusal(kubectl: Kubectl, found: Object) -> str:
    with pytest.raises(CommandError) as caught:
        accepted(kubectl, found)
    return str(caught.value)


def args(*arguments: str, **more: Any) -> Object:
    return with_container(args=["--model=m", *arguments], **more)


def mounted(path: str) -> Object:
    return inference_deployment(
        template__spec__volumes=[{"name": "w", "emptyDir": {}}],
        template__spec__containers=[container(volumeMounts=[{"name": "w", "mountPath": path}])],
    )


def affine(required: Any) -> Object:
    return inference_deployment(
        template__spec__affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    )


GPU = {"limits": {"nvidia.com/gpu": 1}}
BAD = [
    # names
    (inference_deployment("a" * 41), "at most 40 characters"),
    (inference_deployment("3b"), "starts with a letter"),
    (inference_deployment("a.b"), "must be a DNS label"),
    # numbers and words
    (inference_deployment(replicas=-1), "spec.replicas"),
    (inference_deployment(tuning__ranks=0), "spec.tuning.ranks"),
    (inference_deployment(tuning__ranks=65), "spec.tuning.ranks"),
    (inference_deployment(tuning__attempts=11), "spec.tuning.attempts"),
    (inference_deployment(tuning__workload="Kernels"), '"Engine", "Operators"'),
    (inference_deployment(tuning__policy="Sometimes"), '"TuneFirst", "ServeWhileTuning", "Never"'),
    (inference_deployment(tuning__timeout="0m"), "a time must be longer than 0s: write it as 90s, 60m or 1h30m"),
    (inference_deployment(tuning__queueTimeout="0h0s"), "a time must be longer than 0s"),
    (inference_deployment(tuning__timeout="1 hour"), "spec.tuning.timeout"),
    (inference_deployment(tuning__timeout="-5m"), "spec.tuning.timeout"),
    (inference_deployment(tuning__timeout=60), "spec.tuning.timeout"),
    (inference_deployment(tuning__sweep={}), "spec.tuning.sweep.name: Required value"),
    (inference_deployment(cache__layers__exclude=["Tritone"]), 'Unsupported value: "Tritone"'),
    (inference_deployment(cache__layers__exclude=["Triton", "Triton"]), "Duplicate value"),
    (inference_deployment(cache__onFailure="Crash"), '"ServeCold", "Block"'),
    (with_container(resources={"limits": {"memory": "six"}}), "containers[0].resources.limits.memory"),
    (with_container(imagePullPolicy="Sometimes"), "containers[0].imagePullPolicy"),
    (with_container(ports=[{"containerPort": 8000}, {"containerPort": 8000}]), "Duplicate value"),
    # the engine
    ({**inference_deployment(), "spec": {}}, "spec.template: Required value"),
    (inference_deployment(template={"spec": {}}), "spec.template.spec.containers: Required value"),
    (inference_deployment(engine__container="engine"), "engine.container names no container"),
    (with_containers(container(), container("b")), "name the one that runs vLLM in engine.container"),
    (with_containers(container(resources=GPU), container("b", resources=GPU)), "name the one that runs vLLM"),
    (with_container(image="registry.example/vllm:1"), "set engine.entrypoint to it"),
    (inference_deployment(engine__entrypoint=[]), "spec.engine.entrypoint"),
    (args("--uds=/run/vllm.sock"), "leave --uds out"),
    (args("--uds", "/run/vllm.sock"), "leave --uds out"),
    (args("--config=/c.yaml"), "write its settings as flags"),
    (args("--host=127.0.0.1"), "leave --host out, or add a startupProbe with exec"),
    (args("--host=::1"), "leave --host out"),
    # the pod
    (inference_deployment(template__spec__restartPolicy="Never"), "restartPolicy must be Always"),
    (inference_deployment(template__spec__volumes=[{"name": "tunecast-cache"}]), "begin with tunecast- are Tunecast's"),
    (inference_deployment(template__spec__volumes=[{"name": "w"}, {"name": "w"}]), "Duplicate value"),
    (with_container(name="tunecast-init"), "container names that begin with tunecast- are Tunecast's own"),
    (inference_deployment(template__spec__initContainers=[{"name": "tunecast-init"}]), "container names that begin"),
    (with_container(env=[{"name": "JOB_COMPLETION_INDEX"}]), "give the variable another name"),
    (with_container(env=[{"name": "A", "value": "1"}, {"name": "A"}]), "Duplicate value"),
    (with_container(env=[{"value": "1"}]), "env[0].name: Required value"),
    (with_container(env=[{"name": "A", "value": 1}]), "env[0].value"),
    (mounted(CACHE), "mount the volume elsewhere"),
    (mounted(f"{CACHE}/"), "mount the volume elsewhere"),
    (mounted(f"{CACHE}/vllm"), "mount the volume elsewhere"),
    (mounted("/run/tunecast/job"), "mount the volume elsewhere"),
    (mounted("/var/cache//tunecast/vllm"), "write the path without them"),
    (mounted("/var/cache/./tunecast"), "write the path without them"),
    (mounted("/run/x/../tunecast/job"), "write the path without them"),
    (mounted("/run/.."), "write the path without them"),
    (inference_deployment(template__spec__affinity={"nodeAffinity": "x"}), "spec.template.spec.affinity.nodeAffinity"),
    (affine("x"), "requiredDuringSchedulingIgnoredDuringExecution"),
    (affine({"nodeSelectorTerms": "x"}), "nodeSelectorTerms"),
    (affine({"nodeSelectorTerms": ["x"]}), "nodeSelectorTerms[0]"),
    (affine({"nodeSelectorTerms": [{"matchExpressions": "x"}]}), "nodeSelectorTerms[0].matchExpressions"),
    (inference_deployment(template__spec__volumes=[{"name": "w", "projected": "x"}]), "volumes[0].projected"),
    (inference_deployment(template__metadata__labels={"tunecast.io/key": "x"}), "own: rename them"),
    (inference_deployment(template__metadata__annotations={"tunecast.io/revision": "x"}), "own: rename them"),
    (inference_deployment(tuning__template__metadata__labels={"tunecast.io/key": "x"}), "own: rename them"),
    (inference_deployment(tuning__template__metadata__labels={"a": "not a label"}), "template.metadata.labels.a"),
    (startup_cache("database"), "created and named by Tunecast"),
    ({**startup_cache(), "spec": {**startup_cache()["spec"], "key": "short"}}, "spec.key"),
]


@pytest.mark.parametrize(("found", "message"), BAD, ids=[f"{n}-{message[-40:]}" for n, (_, message) in enumerate(BAD)])
def test_a_mistake_is_refused_with_a_message(kubernetes: Kubectl, found: Object, message: str) -> None:
    assert message in refusal(kubernetes, found)


PROXY = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always", "ports": [{"containerPort": 8000}]}
GOOD = [
    inference_deployment(),
    inference_deployment("a" * 40),
    inference_deployment("a"),
    args("--port=9000", "--max-model-len=8192"),
    args("--udster=1", "--configure", "--hostile=127.0.0.1"),
    args("--host=127.0.0.1", readinessProbe={"exec": {"command": ["true"]}}),
    args("--host=0.0.0.0", "--host", "::", "--ssl-keyfile=/k", "--ssl-certfile=/c", "--ssl-cert-reqs=1"),
    with_container(command=["python3", "-m", "server"], image="registry.example/vllm:1"),
    with_container(image="registry.example/mirror/vllm-openai@sha256:00"),
    with_container(image="nvcr.io/nvidia/vllm:26.05", args=["vllm", "serve", "m"]),
    inference_deployment(engine__entrypoint=["vllm", "serve"]),
    with_containers(container(resources=GPU), container("b")),
    with_containers(container(resources={"claims": [{"name": "g"}]}), container("b")),
    with_containers(container(), container("b"), engine__container="b"),
    inference_deployment(tuning__workload="Operators"),
    inference_deployment(tuning__timeout="1h30m", tuning__queueTimeout="90s"),
    inference_deployment(
        tuning__template__spec={"priorityClassName": "batch", "tolerations": [{"operator": "Exists"}]}
    ),
    with_container(resources={"limits": {"nvidia.com/gpu": 1, "memory": "64Gi"}, "requests": {"cpu": "500m"}}),
    with_container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}, {"name": "B"}]),
    with_container(env=[{"name": "VLLM_CACHE_ROOT", "value": "/c"}]),
    with_container(lifecycle={"preStop": {"sleep": {"seconds": 5}}}, resizePolicy=[]),
    inference_deployment(template__spec__initContainers=[PROXY], template__spec__hostNetwork=True),
    mounted("/var/cache/tunecast-of-mine"),
    mounted("/root/.cache/..data/.x/"),
    inference_deployment(template__metadata__labels={"app.kubernetes.io/managed-by": "Helm"}),
    inference_deployment(cache__layers__exclude=["Triton", "CUDA"]),
    embedding("embedding", "default")[-1],
    keyed("keyed", "default")[-1],
    startup_cache(),
]


@pytest.mark.parametrize("found", GOOD, ids=range(len(GOOD)))
def test_what_is_right_is_accepted_and_kept_whole(kubernetes: Kubectl, found: Object) -> None:
    assert missing(found["spec"], accepted(kubernetes, found)["spec"]) == []


def missing(wanted: Any, kept: Any, path: str = "spec") -> list[str]:
    """Returns the paths of ``wanted`` that ``kept`` lacks or has with other values."""
    if isinstance(wanted, dict) and isinstance(kept, dict):
        return [p for k, v in wanted.items() for p in missing(v, kept.get(k), f"{path}.{k}")]
    if isinstance(wanted, list) and isinstance(kept, list) and len(wanted) == len(kept):
        return [p for i, item in enumerate(wanted) for p in missing(item, kept[i], f"{path}[{i}]")]
    return [] if wanted == kept else [path]


def test_defaults_are_filled_in(kubernetes: Kubectl) -> None:
    spec = accepted(kubernetes, inference_deployment())["spec"]
    assert "replicas" not in spec
    assert spec["template"] == inference_deployment()["spec"]["template"], "which is Kubernetes' own"
    assert spec["engine"] == {}
    words = {"policy": "TuneFirst", "workload": "Engine", "timeout": "60m", "queueTimeout": "10m", "hardwareLimit": 4}
    ranks: Object = {"metadata": {}, "spec": {}}
    assert spec["tuning"] == {**words, "ranks": 1, "generation": 1, "attempts": 3, "template": ranks}
    assert spec["cache"] == {"layers": {}, "onFailure": "ServeCold"}


def test_unknown_fields_are_refused_by_name(kubernetes: Kubectl) -> None:
    assert 'unknown field "spec.tuning.polcy"' in refusal(kubernetes, inference_deployment(tuning__polcy="Never"))
    misspelt = inference_deployment(template__spec__tolerations=[{"key": "gpu", "operater": "Exists"}])
    assert 'unknown field "spec.template.spec.tolerations[0].operater"' in refusal(kubernetes, misspelt)
    former = inference_deployment(model={"name": "Qwen/Qwen3-8B"})
    assert 'unknown field "spec.model"' in refusal(kubernetes, former)


def test_the_generation_goes_up_alone(kubernetes: Kubectl) -> None:
    kubernetes.apply(inference_deployment("generation", tuning__generation=2))
    with pytest.raises(CommandError, match=r"tuning\.generation can't go down: raise it to tune again"):
        kubernetes.apply(inference_deployment("generation", tuning__generation=1))
    kubernetes.apply(inference_deployment("generation", tuning__generation=3))


def test_a_startup_cache_never_changes(kubernetes: Kubectl) -> None:
    kubernetes.apply(startup_cache("frozen-0123456789"))
    for change in ({"attempts": 4}, {"model": "other"}, {"template": {"metadata": {"labels": {"a": "b"}}}}):
        with pytest.raises(CommandError, match="the spec of a StartupCache is immutable: raise"):
            kubernetes("patch", "stc", "frozen-0123456789", "--type=merge", "-p", json.dumps({"spec": change}))


def test_scaling_goes_through_the_subresource(kubernetes: Kubectl) -> None:
    kubernetes.apply(inference_deployment("scaled", replicas=1))
    kubernetes("scale", "inferencedeployment", "scaled", "--replicas=3")
    assert kubernetes.get("inferencedeployment", "scaled")["spec"]["replicas"] == 3
    status = {"status": {"replicas": 2, "selector": "tunecast.io/inference-deployment=scaled"}}
    kubernetes(
        "patch", "inferencedeployment", "scaled", "--subresource=status", "--type=merge", "-p", json.dumps(status)
    )
    path = "/apis/tunecast.io/v1alpha2/namespaces/default/inferencedeployments/scaled/scale"
    scale = json.loads(kubernetes("get", "--raw", path))
    assert (scale["spec"], scale["status"]) == ({"replicas": 3}, status["status"])


def test_without_replicas_kubectl_scale_works_but_autoscalers_do_not(kubernetes: Kubectl) -> None:
    """Autoscalers read the scale first, which the API server cannot return without the field."""
    kubernetes.apply(inference_deployment("unscaled"))
    path = "/apis/tunecast.io/v1alpha2/namespaces/default/inferencedeployments/unscaled/scale"
    with pytest.raises(CommandError, match=r'field "\.spec\.replicas" does not exist'):
        kubernetes("get", "--raw", path)
    kubernetes("scale", "inferencedeployment", "unscaled", "--replicas=2")
    assert json.loads(kubernetes("get", "--raw", path))["spec"] == {"replicas": 2}


def test_columns_and_names(kubernetes: Kubectl) -> None:
    kubernetes.apply(inference_deployment("columns"), startup_cache("columns-0123456789"))
    header = kubernetes("get", "infd", "columns").splitlines()[0].split()
    assert header == ["NAME", "MODEL", "READY", "DESIRED", "CACHE", "COLD", "WARM", "AGE"]
    header = kubernetes("get", "stc", "columns-0123456789").splitlines()[0].split()
    assert header == ["NAME", "MODEL", "GPU", "STATE", "SIZE", "COLD", "WARM", "SPEEDUP", "AGE"]
    status = {"status": {"users": "InferenceDeployment columns and 2 others"}}
    where = ("stc", "columns-0123456789", "--subresource=status", "--type=merge")
    kubernetes("patch", *where, "--patch", json.dumps(status))
    titles, row = kubernetes("get", "stc", "columns-0123456789", "--output=wide").splitlines()
    assert row[titles.index("USED BY") :].startswith("InferenceDeployment columns and 2 others ")


def test_every_field_is_explained(kubernetes: Kubectl) -> None:
    text = kubernetes("explain", "inferencedeployments", "--recursive")
    assert "queueTimeout\t<string>" in text
    assert "Raise it to tune again" in kubernetes("explain", "inferencedeployments.spec.tuning.generation")
    assert "Order of tuning and serving." in kubernetes("explain", "infd.spec.tuning.policy")
    assert "Key is the taint key" in kubernetes("explain", "infd.spec.template.spec.tolerations.key")
    assert "List of containers belonging to the pod." in kubernetes("explain", "infd.spec.template.spec.containers")


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_examples_are_accepted(kubernetes: Kubectl, path: Path) -> None:
    for found in yaml.safe_load_all(path.read_text()):
        name = found["metadata"].get("namespace", "default")
        kubernetes.apply(deploy.namespace(name))
        kubernetes("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(found))
