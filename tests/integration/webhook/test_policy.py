"""A policy of the API server labels pods whose owner has no field for labels, before the webhook is called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.kubectl import CommandError, Kubectl, Object, wait_for
from harness.policies import pod
from support.admission import CALLED, configuration, service, webhook
from support.docs import DOCS
from tunecast_operator import times
from tunecast_operator.resources.certificate import issue, service_names

pytestmark = pytest.mark.integration
NAMESPACE, SERVICE = "labelled-by-a-policy", "tunecast-webhook"
POLICY = "adopt-vllm"


def documented() -> list[Object]:
    """Returns the policy and its binding of docs/adopting.md, in the version that the test's API server has."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (DOCS / "adopting.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    [policy] = [block for block in blocks if "kind: MutatingAdmissionPolicyBinding" in block]
    named = policy.replace("metadata.name: models", f"metadata.name: {NAMESPACE}")
    return [{**found, "apiVersion": "admissionregistration.k8s.io/v1beta1"} for found in yaml.safe_load_all(named)]


@pytest.fixture
def labelling(kubernetes: Kubectl, tmp_path: Path) -> Iterator[Kubectl]:
    """An API server that calls a webhook for labelled pods, and that enforces the documented policy."""
    address = kubernetes.environment["TUNECAST_HOST_ADDRESS"]
    issued = issue(service_names(SERVICE, NAMESPACE), times.utc_now())
    kubernetes("create", "namespace", NAMESPACE)
    with webhook(address, tmp_path) as called:
        called.load(issued.data)
        asked = configuration("labelling", SERVICE, NAMESPACE, called.port)
        asked["webhooks"][0]["clientConfig"]["caBundle"] = issued.data["ca.crt"]
        kubernetes.apply(service(SERVICE, NAMESPACE, address), asked, *documented())
        yield kubernetes
    kubernetes("delete", "mutatingwebhookconfiguration", "labelling")
    kubernetes("delete", "mutatingadmissionpolicy,mutatingadmissionpolicybinding", POLICY)
    kubernetes("delete", "namespace", NAMESPACE, "--wait=false")


def created(kubernetes: Kubectl, **labels: str) -> dict[str, str]:
    """Returns the labels of the pod that the API server would create; none while it refuses the pod."""
    try:
        made = kubernetes.create(pod("probe", NAMESPACE, labels=labels), "--dry-run=server")
    except CommandError as error:
        if "serviceaccount" in str(error):
            return {}
        raise
    return dict(made["metadata"]["labels"])


def test_the_documented_policy_labels_pods_before_the_webhook_is_asked(labelling: Kubectl) -> None:
    selected = {"app.kubernetes.io/name": "vllm"}
    wait_for(lambda: "tunecast.io/inject" in created(labelling, **selected), "the policy is enforced", 30)
    assert created(labelling, **selected) == {**selected, "tunecast.io/inject": "true", **CALLED}
    assert created(labelling, app="router") == {"app": "router"}
