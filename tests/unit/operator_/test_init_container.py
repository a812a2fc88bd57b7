"""The containers that Tunecast adds to replicas and ranks, and their settings by the administrator."""

from __future__ import annotations

from typing import Any

import pytest

from support.objects import inference_deployment, key_in, pod_template
from support.pods import pods
from support.serving import plan
from tunecast_operator.resources.init_container import ContainerSettings, InitContainer

EXTRA = ContainerSettings(
    resources={"limits": {"cpu": "1", "ephemeral-storage": "1Gi"}},
    security_context={"runAsUser": 7},
    extra_env=({"name": "AWS_CA_BUNDLE", "value": "/ca/ca.crt"},),
    extra_env_from=({"configMapRef": {"name": "proxy", "optional": True}},),
    extra_volumes=({"name": "ca", "configMap": {"name": "ca", "optional": True}},),
    extra_volume_mounts=({"name": "ca", "mountPath": "/ca", "readOnly": True},),
)


def added(template: dict[str, Any]) -> dict[str, Any]:
    """Returns the container that Tunecast adds."""
    [container] = template["spec"]["initContainers"]
    found: dict[str, Any] = container
    return found


def test_no_container_of_tunecast_names_a_user() -> None:
    """OpenShift's restricted-v2 refuses every user except the one that it assigns."""
    for template in pods():
        context = added(template)["securityContext"]
        assert context["runAsNonRoot"] is True
        assert not {"runAsUser", "runAsGroup"} & context.keys()


def test_in_a_pod_that_runs_as_root_they_run_as_their_images_user() -> None:
    """The kubelet would refuse a container that inherits root and must not run as root."""
    for template in pods(template=pod_template(pod={"securityContext": {"runAsUser": 0}})):
        assert added(template)["securityContext"]["runAsUser"] == 65532
    for template in pods(
        ContainerSettings(security_context={"runAsUser": 0}),
        template=pod_template(pod={"securityContext": {"runAsUser": 0}}),
    ):
        assert added(template)["securityContext"] == {"runAsUser": 0}
    for template in pods(template=pod_template(pod={"securityContext": {"runAsUser": 1000}})):
        assert "runAsUser" not in added(template)["securityContext"]


def test_an_administrator_sets_resources_and_security_context_of_both() -> None:
    for template in pods(EXTRA):
        assert added(template)["resources"] == EXTRA.resources
        assert added(template)["securityContext"] == EXTRA.security_context


def test_replicas_have_the_extra_environment_and_tenants_credentials_come_last() -> None:
    replica, _ = pods(EXTRA, cache={"credentialsSecret": {"name": "s3"}})
    container = added(replica)
    assert EXTRA.extra_env[0] in container["env"]
    assert container["envFrom"] == [*EXTRA.extra_env_from, {"secretRef": {"name": "s3", "optional": True}}]
    assert EXTRA.extra_env[0] not in replica["spec"]["containers"][0]["env"]


def test_extra_volumes_cannot_clash_with_a_users() -> None:
    volume = {"name": "ca", "emptyDir": {}}
    replica, _ = pods(
        EXTRA, template=pod_template(pod={"volumes": [volume]}, volumeMounts=[{"name": "ca", "mountPath": "/mine"}])
    )
    volumes = {v["name"]: v for v in replica["spec"]["volumes"]}
    assert len(volumes) == len(replica["spec"]["volumes"])
    assert volumes["tunecast-extra-ca"] == {**EXTRA.extra_volumes[0], "name": "tunecast-extra-ca"}
    assert {"name": "tunecast-extra-ca", "mountPath": "/ca", "readOnly": True} in added(replica)["volumeMounts"]
    assert {"name": "tunecast-extra-ca", "mountPath": "/ca", "readOnly": True} not in replica["spec"]["containers"][0][
        "volumeMounts"
    ]


def test_the_tools_of_ranks_get_no_environment_and_no_volume() -> None:
    _, plain = pods()
    _, rank = pods(EXTRA, cache={"credentialsSecret": {"name": "s3"}})
    assert not {"env", "envFrom"} & added(rank).keys()
    assert rank["spec"]["volumes"] == plain["spec"]["volumes"]


@pytest.mark.parametrize("settings", [ContainerSettings(), EXTRA])
def test_settings_are_not_part_of_the_key(settings: ContainerSettings) -> None:
    owner = inference_deployment()
    assert plan(owner, init=InitContainer("init:1", settings=settings)).status.key == key_in(owner)


@pytest.mark.parametrize(
    ("limits", "engine"), [({"memory": "1Gi"}, None), ({"ephemeral-storage": "9Gi"}, "limits.ephemeral-storage")]
)
def test_init_containers_of_replicas_know_the_pods_storage_limit(limits: dict[str, str], engine: str | None) -> None:
    replica, _ = pods(template=pod_template(resources={"limits": limits}))
    env = {v["name"]: v.get("valueFrom", {}).get("resourceFieldRef", {}) for v in added(replica)["env"]}
    assert env["TUNECAST_STORAGE_LIMIT"] == {"resource": "limits.ephemeral-storage"}
    assert env["TUNECAST_STORAGE_REQUEST"] == {"resource": "requests.ephemeral-storage"}
    assert env.get("TUNECAST_ENGINE_STORAGE_LIMIT", {}).get("resource") == engine
