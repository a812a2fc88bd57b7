"""Annotations of replicas and ranks for service meshes and autoscalers."""

from __future__ import annotations

from typing import Any

import pytest

from support.objects import inference_deployment, key_in, pod_template, snapshot_of, spec_of
from support.pods import CACHE, pods
from tunecast_core.store.mesh import MESHES
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.engine import engine_of
from tunecast_operator.identity import template_digest
from tunecast_operator.resources.annotations import LOCAL_VOLUMES
from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.resources.job import job
from tunecast_operator.snapshot import cache_name

ISTIO, LINKERD = "sidecar.istio.io/inject", "linkerd.io/inject"
QUEUE = {"kueue.x-k8s.io/queue-name": "gpus"}


def metadata(**spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the metadata of a replica and of a rank."""
    replica, rank = pods(**spec)
    return replica["metadata"], rank["metadata"]


def of_ranks(**values: Any) -> dict[str, Any]:
    return {"tuning": {"template": {"metadata": values}}}


def test_no_mesh_injects_its_proxy_into_ranks() -> None:
    replica, rank = metadata(
        template=pod_template(metadata={"annotations": {ISTIO: "true", LINKERD: "enabled", "team": "a"}})
    )
    assert rank["labels"].items() >= {ISTIO: "false", "kuma.io/sidecar-injection": "disabled"}.items()
    wanted = {ISTIO: "false", LINKERD: "disabled", "consul.hashicorp.com/connect-inject": "false", "team": "a"}
    assert rank["annotations"].items() >= wanted.items()
    assert replica["annotations"].items() >= {ISTIO: "true", LINKERD: "enabled"}.items()
    assert ISTIO not in replica["labels"]


@pytest.mark.parametrize(("shared", "inject"), [({}, "false"), ({"vault.hashicorp.com/agent-inject": "true"}, "true")])
def test_vault_brings_secrets_to_ranks_without_a_sidecar(shared: dict[str, str], inject: str) -> None:
    _, rank = metadata(template=pod_template(metadata={"annotations": shared}))
    assert rank["annotations"]["vault.hashicorp.com/agent-inject"] == inject
    assert rank["annotations"]["vault.hashicorp.com/agent-pre-populate-only"] == "true"


def test_no_autoscaler_disrupts_ranks() -> None:
    evict = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    replica, rank = metadata(template=pod_template(metadata={"annotations": {evict: "true"}}))
    assert rank["annotations"].items() >= {evict: "false", "karpenter.sh/do-not-disrupt": "true"}.items()
    assert replica["annotations"][evict] == "true"
    assert "karpenter.sh/do-not-disrupt" not in replica["annotations"]


def test_what_ranks_are_given_of_their_own_wins_over_all_but_tunecasts_names() -> None:
    own = of_ranks(labels={**QUEUE, ISTIO: "true"}, annotations={ISTIO: "true", "team": "b"})
    replica, rank = metadata(template=pod_template(metadata={"annotations": {"team": "a"}}), **own)
    assert rank["labels"].items() >= {**QUEUE, ISTIO: "true"}.items()
    assert rank["annotations"].items() >= {ISTIO: "true", "team": "b"}.items()
    assert rank["labels"]["tunecast.io/startup-cache"] == "qwen3-8b-0123456789"
    assert not QUEUE.keys() & replica["labels"].keys()
    assert replica["annotations"]["team"] == "a"


def test_the_job_has_the_labels_of_its_ranks_for_queues_and_none_of_a_mesh() -> None:
    snapshot = StartupCacheSpec.model_validate(snapshot_of(inference_deployment(**of_ranks(labels=QUEUE))))
    engine = engine_of(snapshot.template, snapshot.engine)
    labels = job(CACHE, snapshot, engine, 1, InitContainer("init:1"))["metadata"]["labels"]
    assert labels.items() >= QUEUE.items()
    assert ISTIO not in labels


def test_emptydirs_of_replicas_pin_no_node() -> None:
    replica, _ = pods()
    volumes = [volume["name"] for volume in replica["spec"]["volumes"] if "emptyDir" in volume]
    assert replica["metadata"]["annotations"][LOCAL_VOLUMES] == ",".join(volumes)
    assert set(volumes) == {"tunecast-cache", "tunecast-shm", "tunecast-init-tmp"}


def test_a_users_list_of_volumes_is_added_to() -> None:
    volumes = [{"name": "scratch", "emptyDir": {}}, {"name": "mine", "emptyDir": {}}]
    replica, _ = metadata(
        template=pod_template(
            metadata={"annotations": {LOCAL_VOLUMES: "scratch, tunecast-cache"}}, pod={"volumes": volumes}
        )
    )
    assert replica["annotations"][LOCAL_VOLUMES] == "scratch,tunecast-cache,tunecast-shm,tunecast-init-tmp"


def test_what_ranks_have_of_their_own_makes_another_job_of_the_same_key_and_rolls_nothing() -> None:
    before, after = (inference_deployment(**spec) for spec in ({}, of_ranks(labels=QUEUE)))
    assert key_in(before) == key_in(after)
    assert template_digest(spec_of(before)) == template_digest(spec_of(after))
    assert cache_name(snapshot_of(before)) != cache_name(snapshot_of(after))


def test_init_containers_of_replicas_know_the_mesh_of_their_pod() -> None:
    replica, _ = pods()
    fields = {v["name"]: v.get("valueFrom") for v in replica["spec"]["initContainers"][0]["env"]}
    for mesh in MESHES:
        assert fields[mesh.variable] == {"fieldRef": {"fieldPath": f"metadata.annotations['{mesh.mark}']"}}
