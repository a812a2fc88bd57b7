"""Finding the engine's container in a pod template, and refusing what cannot work."""

from __future__ import annotations

from typing import Any

import pytest

from support.objects import pod_template
from tunecast_operator.api.engine import EngineSettings
from tunecast_operator.engine import Engine, SpecError, check_probes, engine_of

GPU = {"limits": {"nvidia.com/gpu": 1}}


def container(name: str, *args: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", "command": ["vllm", "serve", "m"], "args": list(args), **more}


def found(*containers: dict[str, Any], **settings: Any) -> Engine:
    engine = engine_of({"spec": {"containers": list(containers)}}, EngineSettings(**settings))
    check_probes(engine)
    return engine


@pytest.mark.parametrize(
    ("containers", "settings", "name"),
    [
        ([container("a")], {}, "a"),
        ([container("a"), container("b", resources=GPU)], {}, "b"),
        ([container("a"), container("b", resources={"requests": {"amd.com/gpu": "1"}})], {}, "b"),
        ([container("a", resources={"claims": [{"name": "g"}]}), container("b")], {}, "a"),
        ([container("a", resources=GPU), container("b")], {"container": "b"}, "b"),
        ([container("a"), container("b", resources={"limits": {"hugepages-2Mi": "1Gi"}})], {"container": "a"}, "a"),
    ],
)
def test_the_engine_is_named_alone_or_has_the_accelerator(
    containers: list[dict[str, Any]], settings: dict[str, Any], name: str
) -> None:
    assert found(*containers, **settings).name == name


@pytest.mark.parametrize(
    ("containers", "settings"),
    [
        ([], {}),
        ([container("a"), container("b")], {}),
        ([container("a", resources=GPU), container("b", resources=GPU)], {}),
        ([container("a")], {"container": "z"}),
    ],
)
def test_a_template_with_an_ambiguous_engine_is_refused(
    containers: list[dict[str, Any]], settings: dict[str, Any]
) -> None:
    with pytest.raises(SpecError, match=r"set spec\.engine\.container to its name"):
        found(*containers, **settings)


def test_the_entrypoint_of_an_image_is_known_or_given() -> None:
    bare = {"name": "a", "image": "vllm/vllm-openai:v0.26.0", "args": ["m", "-tp=2"]}
    assert found(bare).words == ("vllm", "serve", "m", "-tp=2")
    other = {**bare, "image": "registry.example/vllm:1"}
    assert found(other, entrypoint=["/start", "vllm", "serve"]).words[:2] == ("/start", "vllm")
    with pytest.raises(SpecError, match=r"container a: .*set spec\.engine\.entrypoint"):
        found(other)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--uds=/run/s"], "--uds"),
        (["--ssl-certfile=c", "--ssl-cert-reqs=2"], "--ssl-cert-reqs"),
        (["--headless"], "--headless"),
        (["--grpc"], "--grpc"),
        (["--nnodes=2"], "--nnodes"),
        (["-r", "0"], "--node-rank"),
        (["-dp=4", "-dpl=2"], "--data-parallel-size-local"),
        (["--data-parallel-rank=1"], "--data-parallel-rank"),
        (["-dph"], "--data-parallel-hybrid-lb"),
        (['--compilation-config={"cache_dir": "/cache/compile"}'], "leave cache_dir out"),
        (["--host=127.0.0.1"], "startupProbe"),
        (["--host", "localhost"], "startupProbe"),
        (["--host=::1"], "startupProbe"),
        (["--config=/c"], "write its settings as flags"),
    ],
)
def test_an_engine_that_cannot_work_is_refused_with_advice(args: list[str], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        found(container("a", *args))


@pytest.mark.parametrize(
    "args",
    [
        ["-dp=4"],
        ["-dp=4", "-dpl=4"],
        ["--nnodes=1"],
        ["--host=0.0.0.0"],
        ["--host", "::"],
        ["--no-data-parallel-hybrid-lb"],
    ],
)
def test_what_works_is_not_refused(args: list[str]) -> None:
    assert found(container("a", *args)).name == "a"


@pytest.mark.parametrize(
    ("resource", "given", "works"),
    [
        ("nvidia.com/gpu", "4", True),
        ("nvidia.com/gpu", 3, False),
        ("amd.com/gpu", "2", False),
        ("google.com/tpu", "2", True),  # a chip may be two devices
        ("nvidia.com/mig-1g.10gb", "1", True),
    ],
)
def test_a_replica_that_needs_more_gpus_than_its_pod_has_is_refused(resource: str, given: object, works: bool) -> None:
    engine = container("a", "-tp=2", "-pp=2", resources={"limits": {resource: given}})
    if works:
        assert found(engine).name == "a"
        return
    with pytest.raises(SpecError, match=f"need 4 GPUs, and container a asks for {given} of {resource}"):
        found(engine)


def test_a_variable_that_env_from_may_set_has_no_default() -> None:
    """A ConfigMap may set TP, and the operator does not read ConfigMaps."""
    script = ["sh", "-c", "vllm serve m --tensor-parallel-size ${TP:-1}"]
    assert found(container("a", command=script)).line.tensor == 1
    with pytest.raises(SpecError, match="TP has no value"):
        found(container("a", command=script, envFrom=[{"configMapRef": {"name": "settings"}}]))


MODELS = {"name": "models", "mountPath": "/models"}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"containers": [{"name": "b", "volumeMounts": [MODELS]}]}, "without container b, which can write to the eng"),
        ({"containers": [{"name": "b", "volumeMounts": [{**MODELS, "readOnly": True}]}]}, None),
        ({"containers": [{"name": "b", "volumeMounts": [{**MODELS, "name": "logs"}]}]}, None),
        ({"initContainers": [{"name": "c", "volumeMounts": [MODELS], "restartPolicy": "Always"}]}, "container c"),
        ({"initContainers": [{"name": "c", "volumeMounts": [MODELS]}]}, None),
    ],
)
def test_what_ranks_lack_of_a_pod_is_noted(other: dict[str, Any], words: str | None) -> None:
    engine = container("a", volumeMounts=[MODELS], resources=GPU)
    spec = {**other, "containers": [engine, *other.get("containers", ())]}
    notes = engine_of({"spec": spec}, EngineSettings()).notes
    assert len(notes) == (words is not None)
    assert words is None or words in notes[0]


def test_a_hook_that_ranks_do_not_run_is_noted() -> None:
    hook = {"exec": {"command": ["cp", "/a", "/b"]}}
    [note] = found(container("a", lifecycle={"postStart": hook})).notes
    assert note.startswith("ranks don't run the postStart hook of container a")
    assert found(container("a", lifecycle={"preStop": hook})).notes == ()


def test_a_script_that_moves_a_layer_is_refused() -> None:
    moved = ["sh", "-c", "export VLLM_CACHE_ROOT=/elsewhere; exec vllm serve m"]
    with pytest.raises(SpecError, match="sets VLLM_CACHE_ROOT"):
        found({"name": "a", "image": "i", "command": moved})


def test_notes_list_what_is_replaced_or_ignored() -> None:
    module = ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model=m", "n"]
    env = [{"name": "TRITON_CACHE_DIR", "value": "/t"}]
    notes = found({"name": "a", "image": "i", "command": module, "env": env}, entrypoint=["x"]).notes
    assert [note.split(" ")[0] for note in notes] == ["'n'", "variable", "spec.engine.entrypoint"]
    assert found(*pod_template()["spec"]["containers"]).notes == ()


FIELD = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


@pytest.mark.parametrize(
    ("env", "command", "names"),
    [
        ([FIELD | {"name": "VLLM_P2P_SIDE_CHANNEL_HOST"}], None, ["VLLM_P2P_SIDE_CHANNEL_HOST"]),
        ([FIELD, {"name": "VLLM_LOOPBACK_IP", "value": "$(POD_IP)"}], None, ["VLLM_LOOPBACK_IP"]),
        ([FIELD], ["sh", "-c", "export VLLM_LOOPBACK_IP=$POD_IP; vllm serve m"], ["VLLM_LOOPBACK_IP"]),
        ([], ["sh", "-c", "export VLLM_LOOPBACK_IP=$(hostname -i); vllm serve m"], ["VLLM_LOOPBACK_IP"]),
        ([FIELD, {"name": "VLLM_LOOPBACK_IP", "value": "127.0.0.2"}], None, []),
        ([FIELD | {"name": "VLLM_HOST_IP"}, FIELD | {"name": "VLLM_NIXL_SIDE_CHANNEL_HOST"}], None, []),
    ],
)
def test_a_variable_of_one_pod_that_vllm_hashes_is_noted(
    env: list[dict[str, Any]], command: list[str] | None, names: list[str]
) -> None:
    notes = found(container("a", env=env, **({"command": command} if command else {}))).notes
    assert [note.split(" ")[1] for note in notes] == names
    assert all("replicas compile again" in note for note in notes)
