"""A namespace whose ResourceQuota requires limits, and LimitRanges that allow little ephemeral storage."""

from __future__ import annotations

import pytest

from e2e.elsewhere import QUOTA, SHRINKING_DISKS, SMALL, SMALL_DISKS, limit_range, until_served
from e2e.standin import script, standin
from e2e.steps import cache_of, init_report, rank_pods, serving_pods, until_cache
from e2e.world import World
from harness.kubectl import Object

pytestmark = pytest.mark.e2e


def test_an_engine_without_limits_is_refused_at_once_with_the_quotas_message(elsewhere: World) -> None:
    elsewhere.kubectl.apply(script(QUOTA), standin("unlimited", QUOTA, replicas=1, tuning={"ranks": 1}))
    found = until_cache(elsewhere.kubectl, "unlimited", QUOTA, {"PodsCannotStart"}, 60)
    assert "must specify limits.cpu" in found["message"]


def test_an_embedding_engine_with_limits_is_tuned_and_starts_warm(elsewhere: World) -> None:
    kubectl = elsewhere.kubectl
    until_served(elsewhere, "embeddings", QUOTA)
    status = cache_of(kubectl, "embeddings", QUOTA)["status"]
    assert (status["state"], status["proof"]["sweep"]["kind"]) == ("Ready", "Embedding")
    [replica] = serving_pods(kubectl, "embeddings", QUOTA)
    assert init_report(replica)["result"] == "Hit"


def test_every_container_has_the_limits_that_the_quota_requires(elsewhere: World) -> None:
    """Tunecast's containers have the engine's limits."""
    pods = [*rank_pods(elsewhere.kubectl, QUOTA), *serving_pods(elsewhere.kubectl, "embeddings", QUOTA)]
    limits = {
        container["name"]: container["resources"]["limits"]["cpu"]
        for pod in pods
        for container in (*pod["spec"]["containers"], *pod["spec"]["initContainers"])
    }
    assert limits == {"vllm": "2", "tunecast-init": "2", "tunecast-tools": "2"}


def test_a_rank_that_exceeds_its_ephemeral_storage_ends_tuning_with_a_reason(elsewhere: World) -> None:
    """The next attempt would be evicted, too."""
    found = until_cache(elsewhere.kubectl, "tiny", SMALL_DISKS, {"OutOfStorage", "TooManyDisruptions", "Published"})
    assert found["reason"] == "OutOfStorage"
    assert "limits.ephemeral-storage" in found["message"]
    assert cache_of(elsewhere.kubectl, "tiny", SMALL_DISKS)["status"]["attempt"] == 1


def test_a_replica_without_room_for_its_bundle_starts_cold_and_reports_it(elsewhere: World) -> None:
    """Otherwise it and its successors would be evicted while they unpack."""
    kubectl = elsewhere.kubectl
    until_served(elsewhere, "tiny", SHRINKING_DISKS)
    [first] = serving_pods(kubectl, "tiny", SHRINKING_DISKS)
    assert init_report(first)["reason"] == "Installed"
    kubectl.apply(limit_range(SHRINKING_DISKS, SMALL))
    kubectl("delete", "pod", first["metadata"]["name"], "-n", SHRINKING_DISKS)
    kubectl("rollout", "status", "deployment/tiny", "-n", SHRINKING_DISKS, "--timeout=90s")
    [second] = [pod for pod in serving_pods(kubectl, "tiny", SHRINKING_DISKS) if not deleted(pod)]
    report = init_report(second)
    assert (report["result"], report["reason"]) == ("Cold", "NoRoom")
    assert "30.0 MiB of ephemeral storage" in report["message"]


def deleted(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]
