"""What a real API server makes of our CRDs: defaults, refusals and their messages, scaling, explanations."""

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
    """A small one; ``fields`` are paths with __ for dots."""
    found: Object = {
        "apiVersion": "tunecast.io/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"model": {"name": "Qwen/Qwen3-8B"}, "engine": {"image": "vllm/vllm-openai:v0.26.0"}},
    }
    for path, value in fields.items():
        *parents, last = path.split("__")
        place = found["spec"]
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return found


def kernel_cache(name: str = "qwen3-8b-0123456789") -> Object:
    spec = copy.deepcopy(inference_deployment()["spec"])
    return {
        "apiVersion": "tunecast.io/v1alpha1",
        "kind": "KernelCache",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**spec, "key": "a" * 52, "keyVersion": 1},
    }


def accepted(kubectl: Kubectl, found: Object) -> Object:
    return kubectl.create(found, "--dry-run=server")


def refusal(kubectl: Kubectl, found: Object) -> str:
    with pytest.raises(CommandError) as caught:
        accepted(kubectl, found)
    return str(caught.value)


def args(*arguments: str, **more: Any) -> Object:
    return inference_deployment(engine__args=list(arguments), **more)


def mounted(path: str, volume: str = "w") -> Object:
    mount = {"name": volume, "mountPath": path}
    return inference_deployment(pod__volumes=[{"name": "w", "emptyDir": {}}], pod__volumeMounts=[mount])


def affine(required: Any) -> Object:
    return inference_deployment(
        pod__affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    )


BAD = [
    # names
    (inference_deployment("a" * 41), "at most 40 characters"),
    (inference_deployment("3b"), "starts with a letter"),
    (inference_deployment("a.b"), "must be a DNS label"),
    (inference_deployment(model__name=""), "spec.model.name"),
    (inference_deployment(model__name="a b"), "spec.model.name"),
    (inference_deployment(engine__image=""), "spec.engine.image"),
    # numbers and words
    (inference_deployment(replicas=-1), "spec.replicas"),
    (inference_deployment(engine__port=0), "spec.engine.port"),
    (inference_deployment(engine__port=65536), "spec.engine.port"),
    (inference_deployment(engine__command=[]), "spec.engine.command"),
    (inference_deployment(parallelism__tensor=0), "spec.parallelism.tensor"),
    (inference_deployment(parallelism__nodes=2), "set parallelism.nodes to 1"),
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
    (inference_deployment(resources__limits={"memory": "six"}), "spec.resources.limits.memory"),
    # arguments against fields
    (args("--port=9000"), "engine.args contradict engine.port: leave --port out of them, and set engine.port"),
    (args("--port", "9000"), "engine.args contradict engine.port"),
    (args("--port=http"), "engine.args contradict engine.port"),
    (args("--port"), "engine.args contradict engine.port"),
    (args("--port=8000", "--port", "1"), "engine.args contradict engine.port"),
    (inference_deployment(engine__command=["serve", "--port=9000"]), "engine.args contradict engine.port"),
    (args("--revision=v2"), "engine.args contradict model.revision"),
    (args("--model=other"), "engine.args contradict model.name"),
    (args("--model", "other"), "engine.args contradict model.name"),
    (args("--tensor-parallel-size=2"), "leave --tensor-parallel-size and -tp out of them, and set parallelism.tensor"),
    (args("--tensor-parallel-size", "2"), "engine.args contradict parallelism.tensor"),
    (args("-tp=2", parallelism__tensor=4), "engine.args contradict parallelism.tensor"),
    (args("-tp", "2", parallelism__tensor=4), "engine.args contradict parallelism.tensor"),
    (args("-tp", "2", "--tensor-parallel-size=4", parallelism__tensor=4), "engine.args contradict parallelism.tensor"),
    (args("-pp", "2"), "engine.args contradict parallelism.pipeline"),
    (args("--pipeline-parallel-size=2"), "engine.args contradict parallelism.pipeline"),
    (args("-dp=2"), "engine.args contradict parallelism.data"),
    (args("--data-parallel-size", "2"), "engine.args contradict parallelism.data"),
    (args("--tensor_parallel_size=2"), "engine.args contradict parallelism.tensor"),
    # where nobody reaches the engine
    (args("--host=127.0.0.1"), "leave out --host, or set it to 0.0.0.0, :: or the pod's own address"),
    (args("--host", "localhost"), "engine that listens on a loopback address"),
    (args("--host", "::1"), "engine that listens on a loopback address"),
    (inference_deployment(engine__command=["serve", "--host=127.8.0.1"]), "engine that listens on a loopback address"),
    (args("--uds=/run/engine.sock"), "leave out --uds"),
    (args("--uds", "/run/engine.sock"), "leave out --uds"),
    (args("--ssl-certfile=/c", "--ssl-cert-reqs", "2"), "leave out --ssl-cert-reqs"),
    (args("--ssl_certfile=/c", "--ssl_cert_reqs=2"), "probes have no client certificate"),
    # environment
    (
        inference_deployment(engine__env=[{"name": "A", "value": "1"}, {"name": "A"}]),
        "engine.env sets a variable twice",
    ),
    (inference_deployment(engine__env=[{"name": "VLLM_CACHE_ROOT", "value": "/c"}]), "VLLM_CACHE_ROOT"),
    (inference_deployment(engine__env=[{"name": "PYTHONPYCACHEPREFIX"}]), "a variable of Tunecast's own"),
    (inference_deployment(engine__env=[{"name": "HUMMING_CACHE_DIR", "value": "/c"}]), "a variable of Tunecast's own"),
    (
        inference_deployment(engine__env=[{"name": "JOB_COMPLETION_INDEX"}]),
        "a variable of Tunecast's own",
    ),
    (inference_deployment(engine__env=[{"value": "1"}]), "spec.engine.env[0].name: Required value"),
    (inference_deployment(engine__env=[{"name": "A", "value": 1}]), "spec.engine.env[0].value"),
    # pod
    (inference_deployment(pod__volumes=[{"name": "tunecast-cache"}]), "begin with tunecast- are Tunecast's own"),
    (inference_deployment(pod__volumes=[{"name": "w"}, {"name": "w"}]), "two volumes of one name"),
    (mounted(CACHE), "mount it elsewhere"),
    (mounted(f"{CACHE}/"), "mount it elsewhere"),
    (mounted(f"{CACHE}/vllm"), "mount it elsewhere"),
    (mounted("/run/tunecast/job"), "mount it elsewhere"),
    (mounted("/var/cache//tunecast/vllm"), "write it without"),
    (mounted("/var/cache/./tunecast"), "write it without"),
    (mounted("/run/x/../tunecast/job"), "write it without"),
    (mounted("/run/.."), "write it without"),
    (mounted("/x", volume="tunecast-job"), "add it to pod.volumes"),
    (inference_deployment(pod__volumeMounts=[{"name": "w", "mountPath": "/w"}]), "names a volume that isn't there"),
    (
        inference_deployment(pod__volumes=[{"name": "w"}], pod__volumeMounts=[{"name": "w", "mountPath": "/w"}] * 2),
        "two volumes at one path",
    ),
    (inference_deployment(pod__affinity={"nodeAffinity": "x"}), "spec.pod.affinity.nodeAffinity"),
    (affine("x"), "requiredDuringSchedulingIgnoredDuringExecution"),
    (affine({"nodeSelectorTerms": "x"}), "nodeSelectorTerms"),
    (affine({"nodeSelectorTerms": ["x"]}), "nodeSelectorTerms[0]"),
    (affine({"nodeSelectorTerms": [{"matchExpressions": "x"}]}), "nodeSelectorTerms[0].matchExpressions"),
    (inference_deployment(pod__volumes=[{"name": "w", "projected": "x"}]), "spec.pod.volumes[0].projected"),
    (inference_deployment(pod__volumes=[{"name": "w", "projected": {"sources": [1]}}]), "projected.sources[0]"),
    (inference_deployment(pod__labels={"tunecast.io/key": "x"}), "Tunecast's own: rename it"),
    (inference_deployment(pod__labels={"app.kubernetes.io/managed-by": "x"}), "Tunecast's own: rename it"),
    (inference_deployment(pod__labels={"team": "not a label"}), "spec.pod.labels.team"),
    (inference_deployment(tuning__template__metadata__labels={"tunecast.io/key": "x"}), "Tunecast's own: rename it"),
    (
        inference_deployment(tuning__template__metadata__annotations={"tunecast.io/key": "x"}),
        "Tunecast's own: rename it",
    ),
    (inference_deployment(pod__annotations={"tunecast.io/revision": "x"}), "Tunecast's own: rename it"),
    (kernel_cache("database"), "made and named by Tunecast"),
    ({**kernel_cache(), "spec": {**kernel_cache()["spec"], "key": "short"}}, "spec.key"),
]


@pytest.mark.parametrize(("found", "message"), BAD, ids=[f"{n}-{message[-40:]}" for n, (_, message) in enumerate(BAD)])
def test_a_mistake_is_refused_with_a_message(kubernetes: Kubectl, found: Object, message: str) -> None:
    assert message in refusal(kubernetes, found)


GOOD = [
    inference_deployment(),
    inference_deployment("a" * 40),
    inference_deployment("a"),
    args("--port=8000", "--max-model-len=8192"),
    args("--port", "9000", engine__port=9000),
    args("-tp", "4", "--pipeline-parallel-size=2", parallelism__tensor=4, parallelism__pipeline=2),
    args("--tensor-parallel-size-of-another-flag=7", "--portable=1"),
    args("--served-model-name", "--port-of-call"),
    args("--host=0.0.0.0", "--host", "::", "--ssl-keyfile=/k", "--ssl-certfile=/c", "--ssl-cert-reqs=1"),
    args("--host=$(POD_IP)", "--hostess=localhost", "--udsx"),
    args("--model", "$(MODEL)"),
    args("--revision=v2", model__revision="v2"),
    inference_deployment(
        engine__command=["python3", "-m", "server", "--model", "$(MODEL)"], model__name="/models/tiny"
    ),
    inference_deployment(tuning__workload="Operators"),
    inference_deployment(tuning__timeout="1h30m", tuning__queueTimeout="90s"),
    inference_deployment(resources={"limits": {"nvidia.com/gpu": 1, "memory": "64Gi"}, "requests": {"cpu": "500m"}}),
    inference_deployment(
        engine__env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}, {"name": "B"}]
    ),
    mounted("/var/cache/tunecast-of-mine"),
    mounted("/root/.cache/..data/.x/"),
    inference_deployment(pod__labels={"team": "search"}, pod__affinity={"nodeAffinity": {}}),
    inference_deployment(cache__layers__exclude=["Triton", "CUDA"]),
    inference_deployment(
        tuning__template__metadata={
            "labels": {"kueue.x-k8s.io/queue-name": "gpus"},
            "annotations": {"linkerd.io/inject": "enabled"},
        }
    ),
    kernel_cache(),
    embedding("embedding", "default")[-1],
    keyed("keyed", "default")[-1],
]


@pytest.mark.parametrize("found", GOOD, ids=range(len(GOOD)))
def test_what_is_right_is_accepted_and_kept_whole(kubernetes: Kubectl, found: Object) -> None:
    assert missing(found["spec"], accepted(kubernetes, found)["spec"]) == []


def missing(wanted: Any, kept: Any, path: str = "spec") -> list[str]:
    """Paths of ``wanted`` that aren't in ``kept``, or differ."""
    if isinstance(wanted, dict) and isinstance(kept, dict):
        return [p for k, v in wanted.items() for p in missing(v, kept.get(k), f"{path}.{k}")]
    return [] if wanted == kept else [path]


def test_defaults_are_filled_in(kubernetes: Kubectl) -> None:
    spec = accepted(kubernetes, inference_deployment())["spec"]
    assert "replicas" not in spec
    assert not {"affinity", "resources"} & {*spec["pod"], *spec}, "which are Kubernetes' own"
    assert spec["engine"] | {"image": ""} == {"image": "", "command": ["vllm", "serve"], "args": [], "port": 8000}
    assert spec["model"]["revision"] == "main"
    assert spec["parallelism"] == {"tensor": 1, "pipeline": 1, "data": 1, "nodes": 1}
    words = {"policy": "TuneFirst", "workload": "Engine", "timeout": "60m", "queueTimeout": "10m"}
    assert spec["tuning"] == {**words, "ranks": 1, "generation": 1, "attempts": 3, "template": {"metadata": {}}}
    assert spec["cache"] == {"layers": {}, "onFailure": "ServeCold"}


def test_unknown_fields_are_refused_by_name(kubernetes: Kubectl) -> None:
    assert 'unknown field "spec.tuning.polcy"' in refusal(kubernetes, inference_deployment(tuning__polcy="Never"))
    misspelt = inference_deployment(pod__tolerations=[{"key": "gpu", "operater": "Exists"}])
    assert 'unknown field "spec.pod.tolerations[0].operater"' in refusal(kubernetes, misspelt)


def test_the_generation_goes_up_alone(kubernetes: Kubectl) -> None:
    kubernetes.apply(inference_deployment("generation", tuning__generation=2))
    with pytest.raises(CommandError, match=r"tuning\.generation can't go down: raise it to tune again"):
        kubernetes.apply(inference_deployment("generation", tuning__generation=1))
    kubernetes.apply(inference_deployment("generation", tuning__generation=3))


def test_a_kernel_cache_never_changes(kubernetes: Kubectl) -> None:
    kubernetes.apply(kernel_cache("frozen-0123456789"))
    for change in ({"attempts": 4}, {"model": {"name": "other"}}, {"pod": {"annotations": {"a": "b"}}}):
        with pytest.raises(CommandError, match="a KernelCache never changes: raise"):
            kubernetes("patch", "kc", "frozen-0123456789", "--type=merge", "-p", json.dumps({"spec": change}))


def test_scaling_goes_through_the_subresource(kubernetes: Kubectl) -> None:
    kubernetes.apply(inference_deployment("scaled", replicas=1))
    kubernetes("scale", "inferencedeployment", "scaled", "--replicas=3")
    assert kubernetes.get("inferencedeployment", "scaled")["spec"]["replicas"] == 3
    status = {"status": {"replicas": 2, "selector": "tunecast.io/inference-deployment=scaled"}}
    kubernetes(
        "patch", "inferencedeployment", "scaled", "--subresource=status", "--type=merge", "-p", json.dumps(status)
    )
    path = "/apis/tunecast.io/v1alpha1/namespaces/default/inferencedeployments/scaled/scale"
    scale = json.loads(kubernetes("get", "--raw", path))
    assert (scale["spec"], scale["status"]) == ({"replicas": 3}, status["status"])


def test_one_without_replicas_takes_kubectl_scale_but_no_autoscaler(kubernetes: Kubectl) -> None:
    """Autoscalers read the scale first, which the API server can't make of a field that is absent."""
    kubernetes.apply(inference_deployment("unscaled"))
    path = "/apis/tunecast.io/v1alpha1/namespaces/default/inferencedeployments/unscaled/scale"
    with pytest.raises(CommandError, match=r'field "\.spec\.replicas" does not exist'):
        kubernetes("get", "--raw", path)
    kubernetes("scale", "inferencedeployment", "unscaled", "--replicas=2")
    assert json.loads(kubernetes("get", "--raw", path))["spec"] == {"replicas": 2}


def test_columns_and_names(kubernetes: Kubectl) -> None:
    kubernetes.apply(inference_deployment("columns"), kernel_cache("columns-0123456789"))
    header = kubernetes("get", "infd", "columns").splitlines()[0].split()
    assert header == ["NAME", "MODEL", "READY", "DESIRED", "CACHE", "COLD", "WARM", "AGE"]
    header = kubernetes("get", "kc", "columns-0123456789").splitlines()[0].split()
    assert header == ["NAME", "MODEL", "GPU", "STATE", "SIZE", "COLD", "WARM", "SPEEDUP", "AGE"]


def test_every_field_is_explained(kubernetes: Kubectl) -> None:
    text = kubernetes("explain", "inferencedeployments", "--recursive")
    assert "queueTimeout\t<string>" in text
    assert "raise it to tune again" in kubernetes("explain", "inferencedeployments.spec.tuning.generation")
    assert "TuneFirst: replicas wait for the cache." in kubernetes("explain", "infd.spec.tuning.policy")
    assert "Key is the taint key" in kubernetes("explain", "infd.spec.pod.tolerations.key")


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_examples_are_accepted(kubernetes: Kubectl, path: Path) -> None:
    for found in yaml.safe_load_all(path.read_text()):
        name = found["metadata"].get("namespace", "default")
        kubernetes.apply(deploy.namespace(name))
        kubernetes("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(found))
