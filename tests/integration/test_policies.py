"""The policies of tests/policies treat pods as OpenShift and sidecar injectors do."""

from __future__ import annotations

from functools import partial

import pytest

from harness import deploy, policies
from harness.kubectl import CommandError, Kubectl, Object, wait_for


@pytest.fixture(scope="module")
def enforced(kubernetes: Kubectl) -> Kubectl:
    policies.install(kubernetes)
    kubernetes.apply(policies.random_uids("uids"))
    for mode in ("enabled", "always"):
        kubernetes.apply(deploy.namespace(mode, policies.sidecars(mode)))
    for namespace in ("uids", "enabled", "always"):
        wait_for(partial(has_service_account, kubernetes, namespace), f"{namespace} takes pods", 30)
    return kubernetes


def has_service_account(kubectl: Kubectl, namespace: str) -> bool:
    return kubectl.find("serviceaccount", "default", "-n", namespace) is not None


def admitted(kubectl: Kubectl, pod: Object) -> Object:
    return kubectl.create(pod, "--dry-run=server")


def test_containers_without_a_user_get_the_namespace_s(enforced: Kubectl) -> None:
    init = {"name": "init", "image": "localhost/python:3", "securityContext": {"runAsNonRoot": True}}
    spec = admitted(enforced, policies.pod("plain", "uids", {"initContainers": [init]}))["spec"]
    contexts = [c["securityContext"]["runAsUser"] for c in (*spec["containers"], *spec["initContainers"])]
    assert contexts == [policies.UID] * 2
    assert spec["securityContext"]["fsGroup"] == policies.UID


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"securityContext": {"runAsUser": 65532}}, "must be in the ranges"),
        ({"securityContext": {"fsGroup": 65532}}, "fsGroup"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "hostPath"),
    ],
)
def test_another_user_another_group_and_paths_of_the_node_are_refused(
    enforced: Kubectl, spec: Object, message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        admitted(enforced, policies.pod("refused", "uids", spec))


OPT_OUT = {"sidecar.istio.io/inject": "false"}


@pytest.mark.parametrize(
    ("namespace", "metadata", "names"),
    [
        ("enabled", {}, ["own", "istio-proxy"]),
        ("enabled", {"labels": OPT_OUT}, ["own"]),
        ("enabled", {"annotations": OPT_OUT}, ["own"]),
        ("always", {"labels": OPT_OUT, "annotations": OPT_OUT}, ["own", "istio-proxy"]),
        ("default", {}, ["own"]),
    ],
)
def test_a_sidecar_is_added_unless_a_pod_may_and_does_opt_out(
    enforced: Kubectl, namespace: str, metadata: dict[str, dict[str, str]], names: list[str]
) -> None:
    found = admitted(enforced, policies.pod("injected", namespace, **metadata))
    assert [container["name"] for container in found["spec"]["containers"]] == names
