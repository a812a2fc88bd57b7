"""Installs the admission policies of tests/policies, which the API server itself enforces."""

from __future__ import annotations

import secrets

from harness.deploy import ROOT
from harness.kubectl import CommandError, Kubectl, Object, wait_for

FOLDER = ROOT / "tests" / "policies"
UID = 1000730000
RANDOM_UIDS = {"tests.tunecast.io/random-uids": "true"}
UID_RANGE = {"openshift.io/sa.scc.uid-range": f"{UID}/10000"}


def install(kubectl: Kubectl) -> None:
    """Applies the policies, and waits until the API server enforces them."""
    kubectl("apply", "-f", str(FOLDER))
    probe = f"policies-are-enforced-{secrets.token_hex(4)}"  # an earlier one may still be terminating
    kubectl.apply(random_uids(probe))
    wait_for(lambda: _refuses(kubectl, probe), "the API server enforces the policies", 30)
    kubectl("delete", "namespace", probe, "--wait=false")


def random_uids(name: str, **labels: str) -> Object:
    """Returns a namespace like OpenShift's, whose pods run as a uid that no image knows."""
    metadata = {"name": name, "labels": {**RANDOM_UIDS, **labels}, "annotations": UID_RANGE}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def sidecars(mode: str) -> dict[str, str]:
    """Returns labels of a namespace with an injector: ``enabled`` honours opt-outs, ``always`` ignores them."""
    return {"tests.tunecast.io/sidecars": mode}


def pod(name: str, namespace: str, spec: Object | None = None, **metadata: dict[str, str]) -> Object:
    """Returns a bare pod that sleeps."""
    containers = [{"name": "own", "image": "localhost/python:3", "command": ["sleep", "infinity"]}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"containers": containers, "automountServiceAccountToken": False, **(spec or {})},
    }


def _refuses(kubectl: Kubectl, namespace: str) -> bool:
    """Returns whether the policy refuses a pod; other refusals, such as a missing service account, don't count."""
    try:
        kubectl.create(pod("probe", namespace, {"securityContext": {"runAsUser": 65532}}), "--dry-run=server")
    except CommandError as error:
        return "must be in the ranges" in str(error)
    return False
