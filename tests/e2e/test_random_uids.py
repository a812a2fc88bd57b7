"""A namespace like OpenShift's: every container must run as a uid that its image does not know.

The engine requires an API key. The operator's own namespace has the same policy.
"""

from __future__ import annotations

import pytest

from e2e.elsewhere import UIDS, until_served
from e2e.engines import API_KEY
from e2e.steps import cache_of, init_report, rank_pods, serving_pods
from e2e.world import World
from harness import deploy
from harness.kubectl import Object
from harness.policies import UID

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def served(elsewhere: World) -> World:
    until_served(elsewhere, "keyed", UIDS)
    return elsewhere


def users(pod: Object) -> set[int | None]:
    """Returns the uids of all containers after admission."""
    spec = pod["spec"]
    contexts = [c.get("securityContext", {}) for c in (*spec["containers"], *spec.get("initContainers", []))]
    return {context.get("runAsUser", spec["securityContext"].get("runAsUser")) for context in contexts}


def test_an_engine_of_a_random_uid_is_tuned_and_starts_warm(served: World) -> None:
    status = cache_of(served.kubectl, "keyed", UIDS)["status"]
    assert (status["state"], status["verdict"], status["proof"]["mode"]) == ("Ready", "Hit", "Peer")
    [replica] = serving_pods(served.kubectl, "keyed", UIDS)
    assert init_report(replica)["result"] == "Hit"


def test_every_container_runs_as_the_namespace_s_uid(served: World) -> None:
    kubectl = served.kubectl
    pods = [*rank_pods(kubectl, UIDS), *serving_pods(kubectl, "keyed", UIDS)]
    assert len(pods) == 3
    assert [users(pod) for pod in pods] == [{UID}] * 3
    [operator] = kubectl.items("pods", "-n", deploy.SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/name=tunecast")
    assert users(operator) == {UID}


def test_the_engine_really_has_no_name_and_no_home(served: World) -> None:
    """This checks the policy itself: neither the image nor the runtime knows this user."""
    [replica] = serving_pods(served.kubectl, "keyed", UIDS)
    where = ("-n", UIDS, replica["metadata"]["name"], "-c", "vllm")
    assert served.kubectl("exec", *where, "--", "id", "-u").strip() == str(UID)
    passwd = served.kubectl("exec", *where, "--", "cat", "/etc/passwd")
    assert str(UID) not in passwd


def test_the_sweep_had_the_engine_s_api_key(served: World) -> None:
    """Without the key every request is refused. Some still are, because this model has no tokenizer."""
    sweep = cache_of(served.kubectl, "keyed", UIDS)["status"]["proof"]["sweep"]
    assert sweep["route"] == "/v1/completions"
    assert sweep["refused"] < 0.1 * sweep["requests"]
    assert "401" not in sweep.get("refusal", "")


def test_the_engine_refuses_requests_without_the_key_which_is_never_printed(served: World) -> None:
    [replica] = serving_pods(served.kubectl, "keyed", UIDS)
    ask = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v1/models')"
    where = ("-n", UIDS, replica["metadata"]["name"], "-c", "vllm")
    denied = served.kubectl("exec", *where, "--", "sh", "-c", f'python3 -c "{ask}" 2>&1 || true')
    assert "401" in denied
    ours = ("inferencedeployments,startupcaches,jobs,events,configmaps", "-n", UIDS, "-o", "json")
    assert API_KEY not in served.kubectl("get", *ours)
