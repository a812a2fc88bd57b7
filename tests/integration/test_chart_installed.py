"""The chart installed on a real API server: what the operator may do, and that its pods pass Pod Security."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness import deploy
from harness.kubectl import CommandError, Kubectl, Object
from support.chart import CHART, EVERYTHING
from support.objects import engine_in, key_in, snapshot_of, spec_of
from tunecast_core.records.codec import from_json
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.engine import engine_of
from tunecast_operator.resources.init_container import ContainerSettings
from tunecast_operator.resources.rank import rank_pod
from tunecast_operator.resources.replica import replica_template
from tunecast_operator.resources.revision import Revision

ROOT = Path(__file__).resolve().parents[2]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
RESTRICTED_CONTEXT = ContainerSettings().security_context


@pytest.fixture(scope="module")
def installed(kubernetes: Kubectl) -> Iterator[Kubectl]:
    """One release for the whole cluster, and one for the namespace `tenant` alone. No node: nothing runs."""
    kubernetes.apply(*(deploy.namespace(name) for name in ("tenant", "other")))
    kubernetes.apply(*(deploy.namespace(name, RESTRICTED) for name in ("wide", "narrow")))
    for name, watched in (("wide", []), ("narrow", ["tenant"])):
        values = {"s3": {"bucket": "bundles"}, "watchNamespaces": watched, "crds": {"enabled": False}}
        arguments = ["upgrade", "--install", name, CHART, "--namespace", name, "--values", "-"]
        kubernetes.command("helm", *arguments, stdin=json.dumps(values))
    yield kubernetes
    for name in ("wide", "narrow"):
        kubernetes.command("helm", "uninstall", name, "--namespace", name)


def table(**verbs: str) -> list[tuple[str, str]]:
    """(verb, resource); names are resource__group__subresource."""
    rows = []
    for name, words in verbs.items():
        resource, group, subresource = [*name.split("__"), "", ""][:3]
        full = {"tunecast": "tunecast.io", "rbac": "rbac.authorization.k8s.io"}.get(group, group)
        rows += [(verb, f"{resource}.{full}/{subresource}".replace("./", "/").rstrip("./")) for verb in words.split()]
    return rows


ALLOWED = table(
    inferencedeployments__tunecast="get list watch",
    inferencedeployments__tunecast__status="update",
    startupcaches__tunecast="get list watch create delete",
    startupcaches__tunecast__status="update",
    deployments__apps="get list watch create patch",
    deployments__apps__scale="patch",
    jobs__batch="list watch create delete",
    pods="list watch delete",
    services="get create patch delete",
    configmaps="get list watch create patch",
    secrets="create patch delete",
    events="create list",
)
FORBIDDEN = table(
    inferencedeployments__tunecast="create update patch delete",
    startupcaches__tunecast="update patch",
    deployments__apps="delete",
    pods="create update patch",
    pods____exec="create",
    secrets="get list watch",
    configmaps="update delete",
    nodes="list update patch",
    namespaces="list",
    serviceaccounts____token="create",
    users="impersonate",
    rolebindings__rbac="create",
)


def can(kubectl: Kubectl, release: str, verb: str, resource: str, namespace: str) -> bool:
    """``resource`` is plural.group/subresource."""
    plural, _, subresource = resource.partition("/")
    name, _, group = plural.partition(".")
    attributes = {"verb": verb, "resource": name, "group": group, "subresource": subresource, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{release}:{release}", "resourceAttributes": attributes},
    }
    text = kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(review))
    return bool(json.loads(text)["status"]["allowed"])


@pytest.mark.parametrize(("verb", "resource"), ALLOWED)
def test_what_it_may_do_in_its_namespaces_alone(installed: Kubectl, verb: str, resource: str) -> None:
    assert can(installed, "wide", verb, resource, "other")
    assert can(installed, "narrow", verb, resource, "tenant")
    assert not can(installed, "narrow", verb, resource, "other")


@pytest.mark.parametrize(("verb", "resource"), FORBIDDEN)
def test_what_it_may_not_do(installed: Kubectl, verb: str, resource: str) -> None:
    assert not can(installed, "wide", verb, resource, "tenant")


@pytest.mark.parametrize("release", ["wide", "narrow"])
def test_it_reads_nodes_one_by_one(installed: Kubectl, release: str) -> None:
    assert can(installed, release, "get", "nodes", "")
    assert not can(installed, release, "list", "nodes", "")


def test_it_reads_its_signing_key_and_no_other_secret(installed: Kubectl) -> None:
    as_operator = ["--as", "system:serviceaccount:narrow:narrow", "--namespace", "narrow"]
    installed("create", "secret", "generic", "tunecast-signing-key", "--namespace", "narrow")
    installed("get", "secret", "tunecast-signing-key", *as_operator)
    with pytest.raises(CommandError, match="Forbidden"):
        installed("get", "secret", "another", *as_operator)


def test_our_pods_are_restricted(installed: Kubectl) -> None:
    """The namespace enforces it, and refuses a pod with the one setting taken away."""
    pod = installed.get("deployment", "wide", "--namespace", "wide")["spec"]["template"]["spec"]
    admit(installed, pod, "wide")
    hooks = yaml.safe_load_all(installed.command("helm", "get", "hooks", "wide", "--namespace", "wide"))
    admit(installed, next(iter(hooks))["spec"], "wide")
    del pod["containers"][0]["securityContext"]["capabilities"]
    with pytest.raises(CommandError, match='violates PodSecurity "restricted'):
        admit(installed, pod, "wide")


@pytest.mark.parametrize("chosen", [{}, EVERYTHING["initContainer"]], ids=["default", "everything"])
def test_replicas_and_ranks_can_be_restricted(installed: Kubectl, chosen: Object) -> None:
    """As examples/restricted-namespace.yaml has them, with the chart's settings of init containers."""
    settings = from_json(ContainerSettings, {**chosen, "securityContext": RESTRICTED_CONTEXT}, "initContainer")
    documents = yaml.safe_load_all((ROOT / "examples" / "restricted-namespace.yaml").read_text())
    owner = next(found for found in documents if found["kind"] == "InferenceDeployment")
    spec = spec_of(owner)
    engine = engine_in(owner)
    revision = Revision(
        "digest", key_in(owner), 1, "tunecast/init:0.2.0", "IfNotPresent", {},
        held=False, port=8000, init_container=settings,
    )  # fmt: skip
    admit(installed, replica_template("r", spec, engine, revision)["spec"], "wide")
    snapshot = StartupCacheSpec.model_validate(snapshot_of(owner))
    admit(installed, rank_pod(snapshot, engine_of(snapshot.template, snapshot.engine), "s", "r", revision.init), "wide")


def admit(kubectl: Kubectl, pod: Object, namespace: str) -> None:
    """Raises CommandError where the API server doesn't take the pod."""
    account = {"serviceAccountName": pod.get("serviceAccountName", "wide")}
    found = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {**pod, **account},
    }
    kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(found))
