"""The pods that the builders make: what replicas and ranks share, and where they differ."""

import json
from typing import Any

import pytest

from support.objects import inference_deployment, spec_of
from support.pods import pods
from tunecast_operator.identity import cache_name, cache_spec, key_of
from tunecast_operator.resources.deployment import RENDERER, Revision, deployment, revision_of
from tunecast_operator.resources.init_container import ContainerSettings


def test_ranks_have_the_replicas_container_but_for_its_entry_point() -> None:
    resources = {"limits": {"nvidia.com/gpu": 2}}
    serving, rank = pods(resources=resources, pod={"nodeSelector": {"pool": "h100"}})
    replica, engine = serving["spec"]["containers"][0], rank["spec"]["containers"][0]
    for field in ("name", "image", "env", "resources"):
        assert engine[field] == replica[field]
    assert rank["spec"]["nodeSelector"] == serving["spec"]["nodeSelector"]
    assert engine["volumeMounts"][: len(replica["volumeMounts"])] == replica["volumeMounts"]
    assert not {"startupProbe", "readinessProbe", "livenessProbe", "ports"} & engine.keys()


def test_labels_of_replicas_and_ranks_are_disjoint() -> None:
    serving, rank = pods(pod={"labels": {"app": "chat"}})
    shared = serving["metadata"]["labels"].items() & rank["metadata"]["labels"].items()
    assert {name for name, _ in shared} == {"app.kubernetes.io/managed-by", "tunecast.io/key"}


def test_ranks_hold_no_credentials() -> None:
    _, rank = pods(cache={"credentialsSecret": {"name": "s3"}}, pod={"serviceAccountName": "reader"})
    assert rank["spec"]["automountServiceAccountToken"] is False
    containers = [*rank["spec"]["containers"], *rank["spec"]["initContainers"]]
    assert not [container for container in containers if container.get("envFrom")]


def test_init_containers_get_the_credentials_and_engines_do_not() -> None:
    serving, _ = pods(cache={"credentialsSecret": {"name": "s3"}})
    assert serving["spec"]["initContainers"][0]["envFrom"] == [{"secretRef": {"name": "s3", "optional": True}}]
    assert "envFrom" not in serving["spec"]["containers"][0]


@pytest.mark.parametrize(("mounts", "ours"), [([], True), ([{"name": "shm", "mountPath": "/dev/shm"}], False)])
def test_shared_memory_is_given_unless_it_is_there(mounts: list[Any], ours: bool) -> None:
    serving, rank = pods(pod={"volumeMounts": mounts})
    for template in (serving, rank):
        names = [volume["name"] for volume in template["spec"]["volumes"]]
        assert ("tunecast-shm" in names) is ours


def test_the_accelerator_is_required_of_both_in_every_term() -> None:
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [z]}]} for z in ("a", "b")]
    node = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    for template in pods(accelerator="NVIDIA-H100", pod={"affinity": {"nodeAffinity": node}}):
        required = template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        keys = [[e["key"] for e in term["matchExpressions"]] for term in required["nodeSelectorTerms"]]
        assert keys == [["zone", "nvidia.com/gpu.product"]] * 2


def test_a_revision_is_read_back_and_strangers_are_not() -> None:
    revision = Revision(
        "digest",
        "key",
        1,
        "init:1",
        "Always",
        environment={"PYTHONPYCACHEPREFIX": "/var/cache/tunecast/pycache"},
        held=True,
        init_container=ContainerSettings({"limits": {"cpu": "1"}}, {"runAsUser": 1}, ({"name": "A", "value": "b"},)),
    )
    made = deployment(inference_deployment(), spec_of(inference_deployment()), revision, None)
    assert revision_of(made) == revision
    newer = {**json.loads(revision.to_text()), "of_a_later_operator": 1}
    assert revision_of({"metadata": {"annotations": {"tunecast.io/revision": json.dumps(newer)}}}) == revision
    strange = [{**newer, "environment": 5}, {**newer, "init_container": {"resources": []}}]
    for text in ("", "no json", "{}", "[" * 99_999, *map(json.dumps, strange)):
        assert revision_of({"metadata": {"annotations": {"tunecast.io/revision": text}}}) is None


def test_a_revision_of_0_1_0_is_read_and_known_to_be_of_another_renderer() -> None:
    """An upgrade would roll every Deployment otherwise."""
    text = (
        '{"environment": {"PYTHONPYCACHEPREFIX": "/var/cache/tunecast/python"}, "held": false, "init_image": "init:1",'
        ' "init_pull_policy": "IfNotPresent", "key": "key", "key_version": 1, "renderer": 1, "spec": "digest"}'
    )
    revision = revision_of({"metadata": {"annotations": {"tunecast.io/revision": text}}})
    assert revision is not None
    assert (revision.init_image, revision.renderer) == ("init:1", 1)
    assert revision.renderer != RENDERER


def test_0_1_0_reads_what_it_needs_in_a_revision_of_this_release() -> None:
    """A way back would roll every Deployment otherwise: it leaves templates of other renderers as they are."""
    revision = Revision("digest", "key", 1, "init:1", "Always", environment={}, held=False)
    found = json.loads(revision.to_text())
    assert found.items() >= {"init_image": "init:1", "init_pull_policy": "Always", "renderer": RENDERER}.items()


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("Qwen/Qwen3-30B-A3B", "qwen3-30b-a3b-"),
        ("/models/tiny", "tiny-"),
        ("01-ai/6B", "m-6b-"),
        ("x/" + "Y" * 90, "y" * 24),
    ],
)
def test_a_cache_is_named_after_its_model(name: str, begins: str) -> None:
    spec = spec_of(inference_deployment(model={"name": name}))
    found = cache_name(cache_spec(spec, key_of(spec, 1), 1))
    assert found.startswith(begins)
    assert len(found) <= 40


BASE: dict[str, Any] = {"resources": {"limits": {"nvidia.com/gpu": 1, "memory": "10Gi"}}}


@pytest.mark.parametrize(
    ("change", "another"),
    [
        ({"replicas": 9}, False),
        ({"pod": {"labels": {"a": "b"}}}, False),
        ({"pod": {"nodeSelector": {"a": "b"}}}, False),
        ({"resources": {"limits": {"nvidia.com/gpu": 1, "memory": "20Gi"}}}, False),
        ({"tuning": {"timeout": "5m"}}, False),
        ({"resources": {"limits": {"nvidia.com/gpu": 2}}}, True),
        ({"engine": {"image": "vllm:v2"}}, True),
        ({"engine": {"image": "vllm:v1", "args": ["--x"]}}, True),
        ({"engine": {"image": "vllm:v1", "command": ["sh", "-c", "evil"]}}, True),
        ({"engine": {"image": "vllm:v1", "env": [{"name": "A", "value": "1"}]}}, True),
        ({"model": {"name": "Qwen/Qwen3-8B", "revision": "v2"}}, True),
        ({"accelerator": "NVIDIA-H200"}, True),
        ({"parallelism": {"tensor": 2}}, True),
        ({"tuning": {"generation": 2}}, True),
        ({"cache": {"layers": {"exclude": ["Triton"]}}}, True),
        ({"pod": {"volumes": [{"name": "v", "emptyDir": {}}]}}, True),
    ],
)
def test_what_is_in_the_key(change: dict[str, Any], another: bool) -> None:
    before, after = (key_of(spec_of(inference_deployment(**spec)), 1) for spec in (BASE, {**BASE, **change}))
    assert (before != after) is another
