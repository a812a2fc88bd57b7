"""The pods that the builders make: fields of replicas, and fields that ranks leave out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.objects import ENGINE, engine_in, inference_deployment, key_in, pod_template, snapshot_of, spec_of
from support.pods import pods
from tunecast_operator.plan.hardware import Target
from tunecast_operator.resources.deployment import deployment
from tunecast_operator.resources.init_container import ContainerSettings
from tunecast_operator.resources.revision import Revision, revision_of
from tunecast_operator.snapshot import cache_name, for_hardware

HTTP = {"httpGet": {"path": "/v1/models", "port": 8000}}
FETCH = {"name": "fetch", "image": "fetch:1", "volumeMounts": [{"name": "models", "mountPath": "/models"}]}
PROXY = {
    "name": "proxy",
    "image": "proxy:1",
    "restartPolicy": "Always",
    "volumeMounts": [{"name": "p", "mountPath": "/p"}],
}
WHOLE = pod_template(
    "--max-model-len=8192",
    metadata={
        "labels": {"app.kubernetes.io/managed-by": "Helm", "app": "chat"},
        "annotations": {"prometheus.io/scrape": "true"},
    },
    pod={
        "initContainers": [PROXY, FETCH],
        "volumes": [{"name": "models", "emptyDir": {}}, {"name": "p", "secret": {"secretName": "p"}}],
        "hostNetwork": True,
        "hostIPC": True,
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
        "terminationGracePeriodSeconds": 300,
        "nodeSelector": {"pool": "h100"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "serviceAccountName": "reader",
        "affinity": {"nodeAffinity": {"n": 1}, "podAntiAffinity": {"a": 1}},
        "subdomain": "theirs",
    },
    envFrom=[{"secretRef": {"name": "engine-secrets"}}, {"configMapRef": {"name": "settings"}}],
    env=[{"name": "A", "value": "1"}],
    imagePullPolicy="Always",
    lifecycle={"preStop": {"sleep": {"seconds": 5}}},
    livenessProbe={**HTTP, "periodSeconds": 30},
    readinessProbe=HTTP,
    ports=[{"name": "metrics", "containerPort": 8000}, {"name": "nixl", "containerPort": 5600}],
    resources={"claims": [{"name": "gpu"}], "limits": {"nvidia.com/gpu": 2}},
    volumeMounts=[{"name": "models", "mountPath": "/models"}],
)
WHOLE["spec"]["containers"].append({"name": "adapters", "image": "adapters:1"})
BOTH: dict[str, Any] = {"template": WHOLE, "engine": {"container": ENGINE}}


def container(template: dict[str, Any], name: str = ENGINE) -> dict[str, Any]:
    (found,) = (c for c in template["spec"]["containers"] if c["name"] == name)
    return dict(found)


def names(items: Any) -> list[str]:
    return [item["name"] for item in items]


def test_a_replica_keeps_the_pod_as_it_was_written() -> None:
    replica, _ = pods(**BOTH)
    before, after = WHOLE["spec"], replica["spec"]
    for field in before.keys() - {"containers", "initContainers", "volumes"}:
        assert after[field] == before[field], field
    assert container(replica, "adapters") == container(WHOLE, "adapters")
    engine, written = container(replica), container(WHOLE)
    for field in written.keys() - {"env", "volumeMounts"}:
        assert engine[field] == written[field], field
    assert engine.keys() - written.keys() == {"startupProbe"}
    assert written["env"][0] in engine["env"]
    assert after["initContainers"][:2] == before["initContainers"]
    assert after["volumes"][:2] == before["volumes"]
    assert replica["metadata"]["labels"].items() >= WHOLE["metadata"]["labels"].items()
    assert replica["metadata"]["annotations"].items() >= WHOLE["metadata"]["annotations"].items()


def test_a_replica_gets_the_cache_and_nothing_else() -> None:
    replica, _ = pods(**BOTH)
    ours = replica["spec"]["initContainers"][2:]  # after sidecars, so that a mesh's proxy is running
    assert names(ours) == ["tunecast-init"]
    assert names(replica["spec"]["volumes"][2:]) == ["tunecast-cache", "tunecast-trust", "tunecast-init-tmp"]
    engine = container(replica)
    assert engine["volumeMounts"][1:] == [{"name": "tunecast-cache", "mountPath": "/var/cache/tunecast"}]
    placed = {v["name"]: v.get("value", "") for v in engine["env"]} | {"A": "/var/cache/tunecast/"}
    assert all(value.startswith("/var/cache/tunecast/") for value in placed.values())
    added = replica["metadata"]["labels"].keys() - WHOLE["metadata"]["labels"].keys()
    assert added == {"tunecast.io/inference-deployment", "tunecast.io/key"}
    assert replica["metadata"]["annotations"]["tunecast.io/container"] == ENGINE
    assert replica["spec"]["enableServiceLinks"] is False
    asked = {**WHOLE["spec"], "enableServiceLinks": True}
    assert pods(**{**BOTH, "template": {**WHOLE, "spec": asked}})[0]["spec"]["enableServiceLinks"] is True


@pytest.mark.parametrize(
    ("engine", "probe"),
    [
        ({}, {"httpGet": {"path": "/health", "port": 8000}}),
        ({"args": ["--port=9000"]}, {"httpGet": {"path": "/health", "port": 9000}}),
        ({"args": ["--root-path=/qwen"]}, {"httpGet": {"path": "/health", "port": 8000}}),
        ({"args": ["--ssl-certfile=c"]}, {"httpGet": {"path": "/health", "port": 8000, "scheme": "HTTPS"}}),
        (
            {"args": ["--host=127.0.0.1"], "readinessProbe": {"exec": {"command": ["true"]}}},
            {"exec": {"command": ["true"]}},
        ),
    ],
)
def test_a_startup_probe_asks_the_engine_for_its_health(engine: dict[str, Any], probe: dict[str, Any]) -> None:
    replica, _ = pods(template=pod_template(**engine))
    found = container(replica)["startupProbe"]
    assert {name: found[name] for name in probe} == probe
    assert found["periodSeconds"] * found["failureThreshold"] == 3600


def test_a_startup_probe_of_the_users_own_stays() -> None:
    replica, _ = pods(template=pod_template(startupProbe=HTTP))
    assert container(replica)["startupProbe"] == HTTP


@pytest.mark.parametrize("name", ["VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "VLLM_FLASHINFER_AUTOTUNE_CACHE_DIR"])
def test_a_variable_that_locates_a_layer_is_replaced_with_a_note(name: str) -> None:
    template = pod_template(env=[{"name": name, "value": "/cache"}, {"name": "A", "value": "1"}])
    for pod in pods(template=template):
        found = [v.get("value") for v in container(pod)["env"] if v["name"] == name]
        assert "/cache" not in found
        assert len(found) == (name != "VLLM_FLASHINFER_AUTOTUNE_CACHE_DIR")
    (note,) = engine_in(inference_deployment(template=template)).notes
    assert note.startswith(f"variable {name} of container engine is replaced")


def test_ranks_keep_what_shapes_the_engine_and_nothing_that_serves() -> None:
    _, rank = pods(**BOTH)
    pod, engine = rank["spec"], container(rank)
    assert names(pod["containers"]) == [ENGINE]
    assert names(pod["initContainers"]) == ["tunecast-tools", "fetch"]  # this init container fetches the weights
    assert names(pod["volumes"])[:1] == ["models"]  # not the proxy's
    assert "p" not in names(pod["volumes"])
    for field in ("image", "imagePullPolicy", "resources", "envFrom"):
        assert engine[field] == container(WHOLE)[field]
    for field in ("resourceClaims", "hostIPC", "nodeSelector", "tolerations", "serviceAccountName"):
        assert pod[field] == WHOLE["spec"][field]
    assert not {"startupProbe", "readinessProbe", "livenessProbe", "ports", "lifecycle", "args"} & engine.keys()
    assert not {"hostNetwork", "topologySpreadConstraints"} & pod.keys()
    assert pod["affinity"] == {"nodeAffinity": {"n": 1}}
    assert (pod["restartPolicy"], pod["subdomain"], pod["terminationGracePeriodSeconds"]) == (
        "Never",
        "qwen3-8b-0123456789",
        30,
    )


def test_ranks_run_the_command_line_as_it_was_written() -> None:
    shell = ["sh", "-c", "exec vllm serve $(M) --port $PORT"]
    _, rank = pods(
        template=pod_template(command=shell, env=[{"name": "M", "value": "m"}, {"name": "PORT", "value": "1"}])
    )
    assert container(rank)["command"] == ["python3", "-B", "/run/tunecast/tools", "--", *shell]
    known = pod_template("--model=m", image="vllm/vllm-openai:v0.26.0", command=[])
    _, rank = pods(template=known)
    assert container(rank)["command"][4:] == ["vllm", "serve", "--model=m"]
    _, rank = pods(template={**known, "spec": {"containers": [{**known["spec"]["containers"][0], "image": "other"}]}},
                   engine={"entrypoint": ["/start", "vllm", "serve"]})  # fmt: skip
    assert container(rank)["command"][4:] == ["/start", "vllm", "serve", "--model=m"]


def test_nothing_that_selects_replicas_selects_ranks() -> None:
    replica, rank = pods(**BOTH)
    shared = replica["metadata"]["labels"].items() & rank["metadata"]["labels"].items()
    assert {name for name, _ in shared} == {"tunecast.io/key"}


def test_the_tuning_template_is_laid_over_ranks_alone() -> None:
    laid_over = {
        "metadata": {"labels": {"kueue.x-k8s.io/queue-name": "batch"}, "annotations": {"a": "b"}},
        "spec": {"priorityClassName": "low", "nodeSelector": {"x": "y"}, "tolerations": [{"key": "batch"}]},
    }
    replica, rank = pods(**BOTH, tuning={"template": laid_over})
    assert replica == pods(**BOTH)[0]
    assert rank["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "batch"
    assert rank["metadata"]["annotations"].items() >= {"a": "b", "prometheus.io/scrape": "true"}.items()
    assert rank["spec"]["priorityClassName"] == "low"
    assert rank["spec"]["nodeSelector"] == {"pool": "h100", "x": "y"}
    assert rank["spec"]["tolerations"] == [*WHOLE["spec"]["tolerations"], {"key": "batch"}]


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
L4: dict[str, Any] = {
    "matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4"]}]
}
ZONE: dict[str, Any] = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
NAMED: dict[str, Any] = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}


def terms(*found: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(found)}}}


@pytest.mark.parametrize(
    ("affinity", "nodes", "expected"),
    [
        ({}, [L4], terms(L4)),
        ({}, [NAMED, L4], terms(NAMED, L4)),
        (terms(ZONE), [L4], terms({"matchExpressions": [*ZONE["matchExpressions"], *L4["matchExpressions"]]})),
        (terms(ZONE), [NAMED], terms({**ZONE, **NAMED})),
        (terms(ZONE, NAMED), [NAMED], terms({**ZONE, **NAMED}, {"matchFields": NAMED["matchFields"] * 2})),
    ],
)
def test_ranks_for_other_hardware_run_where_both_the_pod_and_the_hardware_allow(
    affinity: Any, nodes: Any, expected: Any
) -> None:
    owner = inference_deployment(template=pod_template(pod={"affinity": affinity}))
    name, snapshot = for_hardware(snapshot_of(owner), Target("nvidia-l4-x86-64", tuple(nodes)))
    assert snapshot["template"]["spec"]["affinity"] == expected
    assert snapshot["hardware"] == "nvidia-l4-x86-64"
    assert name == for_hardware(snapshot_of(owner), Target("nvidia-l4-x86-64", (ZONE,)))[0], "nodes don't name it"
    assert name != cache_name(snapshot_of(owner))


GPU = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}


@pytest.mark.parametrize(("engine", "ranks", "drawn"), [(GPU, 2, True), (GPU, 1, False), ({}, 2, False)])
def test_ranks_are_drawn_to_one_gpu_product(engine: Any, ranks: int, *, drawn: bool) -> None:
    template = pod_template(pod={"affinity": terms(ZONE)}, **engine)
    _, rank = pods(template=template, tuning={"ranks": ranks})
    affinity = rank["spec"]["affinity"]
    assert affinity["nodeAffinity"] == terms(ZONE)["nodeAffinity"]
    found = [
        preferred["podAffinityTerm"]["topologyKey"]
        for preferred in affinity.get("podAffinity", {}).get("preferredDuringSchedulingIgnoredDuringExecution", ())
    ]
    assert found == (["nvidia.com/gpu.product"] if drawn else [])


PRODUCT = {"nvidia.com/gpu.product": "NVIDIA-L4"}
H100: dict[str, Any] = {"matchExpressions": [{**L4["matchExpressions"][0], "values": ["NVIDIA-H100"]}]}
NOT_L4: dict[str, Any] = {"matchExpressions": [{**L4["matchExpressions"][0], "operator": "NotIn"}]}


@pytest.mark.parametrize(
    ("engine", "pod", "wants", "product"),
    [
        ({}, {"nodeSelector": PRODUCT}, None, None),
        (GPU, {}, "true", None),
        (GPU, {"nodeSelector": PRODUCT}, "true", "NVIDIA-L4"),
        (GPU, {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A100-MIG-1g.5gb-SHARED"}}, "true", "NVIDIA-A100"),
        (GPU, {"affinity": terms(L4)}, "true", "NVIDIA-L4"),
        (GPU, {"affinity": terms(L4, H100)}, "true", None),
        (GPU, {"affinity": terms(L4, ZONE)}, "true", None),
        (GPU, {"affinity": terms(NOT_L4)}, "true", None),
        ({"resources": {"claims": [{"name": "gpu"}]}}, {"resourceClaims": [{"name": "gpu"}]}, "true", None),
        ({"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}, {}, "true", None),
        ({"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]}, {}, None, None),
    ],
)
def test_an_init_container_gets_the_hardware_that_its_node_hides(
    engine: Any, pod: Any, wants: str | None, product: str | None
) -> None:
    replica, _ = pods(template=pod_template(pod=pod, **engine))
    [init] = replica["spec"]["initContainers"]
    variables = {variable["name"]: variable.get("value") for variable in init["env"]}
    assert (variables.get("TUNECAST_WANTS_GPU"), variables.get("TUNECAST_GPU_PRODUCT")) == (wants, product)


def test_ranks_hold_no_credentials_of_tunecast() -> None:
    _, rank = pods(cache={"credentialsSecret": {"name": "s3"}})
    assert rank["spec"]["automountServiceAccountToken"] is False
    containers = [*rank["spec"]["containers"], *rank["spec"]["initContainers"]]
    assert not [container for container in containers if container.get("envFrom")]


def test_a_rank_knows_variables_whose_whole_value_is_from_a_secret() -> None:
    """The rank never stages them. The operator, which does not read Secrets, cannot name the variables."""
    _, rank = pods(**BOTH)
    (volume,) = (v for v in rank["spec"]["volumes"] if v["name"] == "tunecast-secret-0")
    assert volume["secret"] == {"secretName": "engine-secrets", "optional": True}
    assert {"name": "tunecast-secret-0", "mountPath": "/run/tunecast/secrets/0", "readOnly": True} in container(rank)[
        "volumeMounts"
    ]


def test_init_containers_get_the_credentials_and_engines_do_not() -> None:
    replica, _ = pods(cache={"credentialsSecret": {"name": "s3"}})
    assert replica["spec"]["initContainers"][0]["envFrom"] == [{"secretRef": {"name": "s3", "optional": True}}]
    assert "envFrom" not in container(replica)


@pytest.mark.parametrize(
    ("template", "ours"),
    [
        (pod_template(), True),
        (pod_template(volumeMounts=[{"name": "shm", "mountPath": "/dev/shm"}]), False),
        (pod_template(pod={"hostIPC": True}), False),
    ],
)
def test_shared_memory_is_given_unless_it_is_there(template: dict[str, Any], ours: bool) -> None:
    for pod in pods(template=template):
        assert ("tunecast-shm" in names(pod["spec"]["volumes"])) is ours


def test_a_revision_is_read_back_and_strangers_are_not() -> None:
    revision = Revision(
        "digest",
        "key",
        1,
        "init:1",
        "Always",
        environment={"PYTHONPYCACHEPREFIX": "/var/cache/tunecast/pycache"},
        held=True,
        port=8000,
        init_container=ContainerSettings({"limits": {"cpu": "1"}}, {"runAsUser": 1}, ({"name": "A", "value": "b"},)),
    )
    owner = inference_deployment()
    made = deployment(owner, spec_of(owner), engine_in(owner), revision, None)
    assert revision_of(made) == revision
    newer = {**json.loads(revision.to_text()), "ofALaterOperator": 1}
    assert revision_of({"metadata": {"annotations": {"tunecast.io/revision": json.dumps(newer)}}}) == revision
    strange = [{**newer, "environment": 5}, {**newer, "initContainer": {"resources": []}}]
    for text in ("", "no json", "{}", "[" * 99_999, *map(json.dumps, strange)):
        assert revision_of({"metadata": {"annotations": {"tunecast.io/revision": text}}}) is None


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
    found = cache_name(snapshot_of(inference_deployment(template=pod_template(model=name))))
    assert found.startswith(begins)
    assert len(found) <= 40


def test_what_shapes_no_job_changes_no_name() -> None:
    base = inference_deployment(**BOTH)
    metadata = {"labels": {"app": "other"}, "annotations": {"a": "b"}}
    other = json.loads(json.dumps({**WHOLE, "metadata": metadata}))
    container(other)["livenessProbe"]["periodSeconds"] = 1
    other["spec"]["topologySpreadConstraints"] = []
    changed = inference_deployment(**{**BOTH, "template": other}, replicas=7, tuning={"timeout": "5m"})
    assert cache_name(snapshot_of(changed)) == cache_name(snapshot_of(base))
    assert key_in(changed) == key_in(base)
    queued = inference_deployment(**BOTH, tuning={"template": {"metadata": {"labels": {"queue": "q"}}}})
    assert cache_name(snapshot_of(queued)) != cache_name(snapshot_of(base))
