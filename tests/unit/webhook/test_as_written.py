"""The original pod template is recovered from a pod, without later additions of others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from support.adopted import NAMESPACE, adopted_pod, around
from support.objects import inference_deployment, key_in, pod_template
from tunecast_operator.adoption.adopted import NotAdoptableError, adopted
from tunecast_operator.adoption.as_written import as_written, without_injection
from tunecast_operator.webhook.inject import inject

Change = Callable[[dict[str, Any]], Any]


def engine(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["spec"]["containers"][0]
    return found


def identity(volume: str, *variables: str) -> Change:
    def change(pod: dict[str, Any]) -> None:
        pod["spec"]["volumes"].append({"name": volume, "projected": {"sources": []}})
        engine(pod).setdefault("env", []).extend({"name": name, "value": "x"} for name in variables)
        engine(pod)["volumeMounts"].append({"name": volume, "mountPath": "/var/run/secrets/identity"})

    return change


def sidecar(name: str) -> Change:
    return lambda pod: pod["spec"]["containers"].append({"name": name, "image": "proxy:1"})


def own_claim(pod: dict[str, Any]) -> None:
    pod["metadata"]["name"] = "vllm-0"
    pod["spec"] |= {"hostname": "vllm-0", "subdomain": "vllm"}
    pod["spec"]["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data-vllm-0"}})
    engine(pod)["volumeMounts"].append({"name": "data", "mountPath": "/data"})


def in_a_leader_worker_set(pod: dict[str, Any], group: int = 3) -> None:
    """Changes the pod as the controller and the webhook of LeaderWorkerSet do, with exclusive placement."""
    exclusive = "leaderworkerset.sigs.k8s.io/exclusive-topology"
    pod["metadata"]["annotations"] |= {"leaderworkerset.sigs.k8s.io/size": "1", exclusive: "rack"}
    pod["metadata"]["annotations"]["scheduling.k8s.io/group-name"] = f"vllm-{group}-7d9f"
    pod["metadata"]["labels"]["leaderworkerset.sigs.k8s.io/group-index"] = str(group)
    pod["spec"] |= {"hostname": f"vllm-{group}", "subdomain": "vllm"}
    group_key = {"key": "leaderworkerset.sigs.k8s.io/group-key", "operator": "In", "values": [f"hash-{group}"]}
    term = {"labelSelector": {"matchExpressions": [group_key]}, "topologyKey": "rack"}
    pod["spec"]["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    variables = {
        "LWS_LEADER_ADDRESS": f"vllm-{group}.vllm.models",
        "LWS_GROUP_SIZE": "1",
        "LWS_WORKER_INDEX": "0",
    }
    own = engine(pod).get("env") or []
    engine(pod)["env"] = [*({"name": name, "value": value} for name, value in variables.items()), *own]


ADDED: dict[str, Change] = {
    "nothing": lambda _pod: None,
    "the scheduler's choice": lambda pod: pod["spec"].update(nodeName="node-7"),
    "a debug container": lambda pod: pod["spec"].update(ephemeralContainers=[{"name": "debugger", "image": "busybox"}]),
    "a priority class's value": lambda pod: pod["spec"].update(priority=1000, preemptionPolicy="PreemptLowerPriority"),
    "credentials of AWS": identity("aws-iam-token", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION"),
    "credentials of EKS": identity("eks-pod-identity-token", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    "credentials of Azure": identity("azure-identity-token", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"),
    "a proxy of Istio": sidecar("istio-proxy"),
    "a proxy of Linkerd": sidecar("linkerd-proxy"),
    "a place in a LeaderWorkerSet": in_a_leader_worker_set,
    "a place in an indexed Job": lambda pod: engine(pod).setdefault("env", []).append(
        {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['index']"}}}
    ),
    "a place in a StormService of AIBrix": lambda pod: engine(pod).setdefault("env", []).extend(
        {"name": name, "value": "x"} for name in (
            "ROLESET_NAME", "ROLESET_INDEX", "ROLE_REPLICA_INDEX", "ROLE_TEMPLATE_HASH",
            "PODSET_NAME", "POD_GROUP_INDEX",
        )
    ),
    "a claim of a StatefulSet": own_claim,
}  # fmt: skip


@pytest.mark.parametrize("what", ADDED)
def test_additions_of_others_change_no_key(what: str) -> None:
    pod = adopted_pod()
    ADDED[what](pod)
    assert adopted(pod, {}, {}).key == key_in(inference_deployment())


@pytest.mark.parametrize("what", ADDED)
def test_a_call_after_another_injector_keeps_the_key_and_a_third_changes_nothing(what: str) -> None:
    once = inject(adopted_pod(), NAMESPACE, around())
    ADDED[what](once)
    twice = inject(once, NAMESPACE, around())
    assert twice["metadata"] == once["metadata"]
    assert inject(twice, NAMESPACE, around()) == twice


def test_the_template_has_nothing_that_only_this_pod_has() -> None:
    pod = adopted_pod()
    own_claim(pod)
    pod["metadata"]["annotations"]["cni.projectcalico.org/podIP"] = "10.0.0.7/32"
    pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] = "rdma"
    found = as_written(pod)
    assert found["metadata"] == {"annotations": {"k8s.v1.cni.cncf.io/networks": "rdma"}}
    assert not {"hostname", "subdomain", "nodeName", "priority", "enableServiceLinks"} & found["spec"].keys()
    assert found["spec"]["volumes"] == [{"name": "data", "emptyDir": {}}]
    assert found["spec"]["tolerations"] == []


def test_a_pod_of_a_leader_worker_set_describes_no_group() -> None:
    pods = [adopted_pod(annotations={"example.com/team": "a"}) for _ in range(2)]
    for group, pod in enumerate(pods):
        in_a_leader_worker_set(pod, group)
    first, second = map(as_written, pods)
    assert first["metadata"] == second["metadata"] == {"annotations": {"example.com/team": "a"}}
    assert first["spec"]["containers"] == second["spec"]["containers"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--pipeline-parallel-size=$(LWS_GROUP_SIZE)"],
        ["--data-parallel-address=$(LWS_LEADER_ADDRESS)", "--data-parallel-size-local=$(LWS_GROUP_SIZE)"],
    ],
)
def test_arguments_may_refer_to_the_variables_of_a_leader_worker_set(arguments: list[str]) -> None:
    pods = [adopted_pod(*arguments) for _ in range(2)]
    for group, pod in enumerate(pods):
        in_a_leader_worker_set(pod, group)
    first, second = (adopted(pod, {}, {}) for pod in pods)
    assert first.key == second.key
    assert not any("LWS_" in value for values in first.engine.line.options.values() for value in values)


def test_a_pod_of_a_daemon_set_is_bound_to_no_node() -> None:
    pod = adopted_pod()
    fields = [{"key": "metadata.name", "operator": "In", "values": ["node-7"]}]
    gpu = [{"key": "gpu", "operator": "Exists"}]
    required = {"nodeSelectorTerms": [{"matchFields": fields}, {"matchFields": fields, "matchExpressions": gpu}]}
    pod["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    kept = as_written(pod)["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert kept == {"nodeSelectorTerms": [{"matchExpressions": gpu}]}


def test_an_injected_pod_has_the_key_of_the_pod_before() -> None:
    pod = adopted_pod(env=[{"name": "VLLM_CACHE_ROOT", "value": "/mine"}, {"name": "PYTHONPATH", "value": "/plugins"}])
    around_ready = around(environment={"PYTHONPATH": "/var/cache/tunecast/tactics"})
    injected = inject(copy.deepcopy(pod), NAMESPACE, around_ready)
    assert adopted(injected, {}, {}).key == adopted(pod, {}, {}).key
    assert {v["name"]: v.get("value") for v in engine(injected)["env"]}["PYTHONPATH"] == "/plugins"


@pytest.mark.parametrize("annotations", [{}, {"cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": "a,b"}])
def test_what_the_webhook_added_is_taken_out_again(annotations: dict[str, str]) -> None:
    pod = adopted_pod(annotations=annotations)
    bare = without_injection(inject(pod, NAMESPACE, around()))
    assert [v["name"] for v in bare["spec"]["volumes"]] == [v["name"] for v in pod["spec"]["volumes"]]
    assert bare["spec"]["initContainers"] == []
    assert bare["metadata"]["labels"] == pod["metadata"]["labels"]
    assert bare["metadata"]["annotations"] == {**pod["metadata"]["annotations"], "tunecast.io/container": "engine"}
    assert engine(bare)["env"] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pod: pod["spec"]["volumes"].append({"name": "tunecast-mine", "emptyDir": {}}), "volume tunecast-mine"),
        (lambda pod: pod["spec"]["containers"].append({"name": "tunecast-x", "image": "x"}), "container tunecast-x"),
        (
            lambda pod: engine(pod)["volumeMounts"].append(
                {"name": "x", "mountPath": "/tmp/../var/cache/tunecast/sub"}
            ),
            "mounts /tmp/../var/cache/tunecast/sub",
        ),
    ],
)
def test_a_pod_that_uses_what_is_tunecasts_own_is_refused(change: Change, words: str) -> None:
    pod = adopted_pod()
    change(pod)
    with pytest.raises(NotAdoptableError, match=words):
        adopted(pod, {}, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pod: pod["spec"]["containers"].append({"name": "tunecast-x", "image": "x"}), "container tunecast-x"),
        (
            lambda pod: engine(pod)["volumeMounts"].append({"name": "mine", "mountPath": "/var/cache/tunecast"}),
            "mounts /var/cache/tunecast",
        ),
    ],
)
def test_a_forged_mark_of_injection_hides_no_use_of_what_is_tunecasts_own(change: Change, words: str) -> None:
    pod = adopted_pod(annotations={"tunecast.io/injected": "true"})
    change(pod)
    with pytest.raises(NotAdoptableError, match=words):
        inject(pod, NAMESPACE, around())


def test_labels_play_no_part() -> None:
    assert "labels" not in as_written(adopted_pod())["metadata"]
    assert pod_template() != as_written(adopted_pod())
