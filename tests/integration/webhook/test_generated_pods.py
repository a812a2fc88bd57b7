"""The API server accepts each pod with the webhook's changes that it accepts without them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from kubernetes import client, config

from fuzz.admission import around, checked
from harness.kubectl import Kubectl
from support.generated_pods import generated_pod

pytestmark = pytest.mark.integration
NAMESPACE, PODS = "generated-pods", 600


@pytest.fixture(scope="module")
def api(kubernetes: Kubectl) -> client.CoreV1Api:
    kubernetes("create", "namespace", NAMESPACE)
    kubernetes("wait", "--for=create", "serviceaccount/default", "--namespace", NAMESPACE, "--timeout=60s")
    return client.CoreV1Api(config.new_client_from_config(kubernetes.environment["KUBECONFIG"]))


def created(api: client.CoreV1Api, pod: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Returns the pod as the API server would store it, or why it refuses it."""
    try:
        response = api.create_namespaced_pod(NAMESPACE, pod, dry_run="All", _preload_content=False)
    except client.ApiException as error:
        return {}, str(json.loads(error.body)["message"])
    return json.loads(response.data), ""


def test_the_api_server_accepts_every_pod_with_the_changes_that_it_accepts_without(api: client.CoreV1Api) -> None:
    results: Counter[str] = Counter()
    refused = {}
    for seed in range(PODS):
        pod = generated_pod(seed, NAMESPACE)
        stored, why = created(api, pod)
        if not stored:
            results["Invalid"] += 1
            continue
        result, after = checked(stored, around())
        results[result] += 1
        _, why = created(api, {**pod, "metadata": after["metadata"], "spec": after["spec"]})
        if why:
            refused[seed] = why
    assert refused == {}
    assert results["Injected"] >= 200, results
    assert results["Refused"] >= 20, results
