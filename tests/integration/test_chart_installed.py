"""The chart installed on a real API server: the operator's permissions, and its pods under Pod Security."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness import deploy
from harness.kubectl import CommandError, Kubectl, Object, wait_for
from support.chart import CHART, EVERYTHING
from support.objects import engine_in, key_in, snapshot_of, spec_of
from tunecast_core.records.codec import from_json
from tunecast_core.trust.settings import StoreSettings
from tunecast_operator import times
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.engine import engine_of
from tunecast_operator.reconcile.webhook import LOOK_SECONDS, WebhookReconciler
from tunecast_operator.resources.init_container import ContainerSettings
from tunecast_operator.resources.rank import rank_pod
from tunecast_operator.resources.replica import replica_template
from tunecast_operator.resources.revision import Revision
from tunecast_operator.runtime.cluster import Cluster, connect
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
RESTRICTED_CONTEXT = ContainerSettings().security_context


@pytest.fixture(scope="module")
def installed(kubernetes: Kubectl) -> Iterator[Kubectl]:
    """One release for the whole cluster, and one for the namespace `tenant` only. Without a node, nothing runs."""
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
    """Returns pairs (verb, resource); names are resource__group__subresource."""
    rows = []
    for name, words in verbs.items():
        resource, group, subresource = [*name.split("__"), "", ""][:3]
        known = {"rbac": "rbac.authorization.k8s.io", "admission": "admissionregistration.k8s.io"}
        full = {"tunecast": "tunecast.io", **known}.get(group, group)
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
    replicasets__apps="get",
    statefulsets__apps="get",
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
    replicasets__apps="list patch",
    mutatingwebhookconfigurations__admission="get list watch create update patch delete",
)
WEBHOOK_MAY = table(startupcaches__tunecast="get list watch")
WEBHOOK_MAY_NOT = table(
    startupcaches__tunecast="create update patch delete",
    startupcaches__tunecast__status="update",
    inferencedeployments__tunecast="get list create",
    pods="get list create update patch delete",
    secrets="get list watch create update patch delete",
    configmaps="get list watch create update patch delete",
    nodes="get",
)


def can(
    kubectl: Kubectl,
    release: str,
    verb: str,
    resource: str,
    namespace: str,
    *,
    object_name: str = "",
    account: str = "",
) -> bool:
    """Returns whether ``account``, by default the operator's, may use ``resource`` (plural.group/subresource)."""
    plural, _, subresource = resource.partition("/")
    name, _, group = plural.partition(".")
    attributes = {"verb": verb, "resource": name, "group": group, "subresource": subresource, "namespace": namespace}
    attributes |= {"name": object_name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{release}:{account or release}", "resourceAttributes": attributes},
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


def test_it_reads_its_own_two_secrets_and_no_other(installed: Kubectl) -> None:
    as_operator = ["--as", "system:serviceaccount:narrow:narrow", "--namespace", "narrow"]
    for name in ("tunecast-signing-key", "narrow-webhook"):
        installed("create", "secret", "generic", name, "--namespace", "narrow")
        installed("get", "secret", name, *as_operator)
    with pytest.raises(CommandError, match="Forbidden"):
        installed("get", "secret", "another", *as_operator)


@pytest.mark.parametrize("release", ["wide", "narrow"])
def test_it_changes_the_one_configuration_of_its_own_webhook(installed: Kubectl, release: str) -> None:
    resource = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
    for verb, allowed in (("get", True), ("patch", True), ("create", False), ("update", False), ("delete", False)):
        assert can(installed, release, verb, resource, "", object_name=f"{release}-webhook") == allowed
        assert not can(installed, release, verb, resource, "", object_name="another")


@pytest.mark.parametrize("release", ["wide", "narrow"])
def test_the_webhook_may_read_what_it_needs_and_change_nothing(installed: Kubectl, release: str) -> None:
    account = f"{release}-webhook"
    for verb, resource in WEBHOOK_MAY:
        assert can(installed, release, verb, resource, "tenant", account=account)
        assert can(installed, release, verb, resource, "other", account=account) == (release == "wide")
    for verb, resource in WEBHOOK_MAY_NOT:
        for namespace in ("tenant", release):
            assert not can(installed, release, verb, resource, namespace, account=account)
    for verb in ("get", "list", "watch"):
        assert can(installed, release, verb, "secrets", release, object_name=account, account=account)
        assert not can(
            installed, release, verb, "secrets", release, object_name="tunecast-signing-key", account=account
        )


@pytest.mark.parametrize(("release", "where"), [("wide", "--all-namespaces"), ("narrow", "--namespace=tenant")])
def test_the_webhook_lists_the_config_maps_of_one_name_alone(installed: Kubectl, release: str, where: str) -> None:
    """By a field selector, which the API server authorizes as that name."""
    as_webhook = ["get", "configmaps", where, "--as", f"system:serviceaccount:{release}:{release}-webhook"]
    installed(*as_webhook, "--field-selector=metadata.name=tunecast-defaults")
    with pytest.raises(CommandError, match="Forbidden"):
        installed(*as_webhook)
    with pytest.raises(CommandError, match="Forbidden"):
        installed(*as_webhook, "--field-selector=metadata.name=tunecast-trust")


@pytest.mark.parametrize("release", ["wide", "narrow"])
def test_the_operator_may_do_what_the_webhooks_certificate_needs_and_helm_keeps_it(
    installed: Kubectl, release: str
) -> None:
    """With the rights of its service account; an upgrade of the release sees no conflict, and no difference."""
    api = connect(1, installed.environment["KUBECONFIG"])._api
    api.set_default_header("Impersonate-User", f"system:serviceaccount:{release}:{release}")
    name = f"{release}-webhook"
    settings = Installation(
        StoreSettings("bucket"), release, "init:1",
        webhook_secret=name, webhook_configuration=name, webhook_service=name,
    )  # fmt: skip
    reconciler = WebhookReconciler(Cluster(api), settings, times.utc_now, Metrics(times.utc_now()))
    installed("delete", "secret", name, "--namespace", release, "--ignore-not-found")
    wait_for(lambda: reconciler.reconcile("", name) == LOOK_SECONDS, "it is settled", 10)
    for spoilt in ({"data": {"tls.crt": ""}}, {"data": {"ca.crt": None}}):
        installed("patch", "secret", name, "--namespace", release, "-p", json.dumps(spoilt))
        wait_for(lambda: reconciler.reconcile("", name) == LOOK_SECONDS, "it is settled again", 10)

    def bundle() -> str:
        [webhook] = installed.get("mutatingwebhookconfiguration", name)["webhooks"]
        return str(webhook["clientConfig"]["caBundle"])

    before = bundle()
    for timeout in (4, 3):
        arguments = ["upgrade", release, CHART, "--namespace", release, "--reuse-values"]
        installed.command("helm", *arguments, "--set", f"webhook.timeoutSeconds={timeout}")
        [webhook] = installed.get("mutatingwebhookconfiguration", name)["webhooks"]
        assert (webhook["timeoutSeconds"], bundle()) == (timeout, before)
    assert reconciler.reconcile("", name) == LOOK_SECONDS


def test_our_pods_are_restricted(installed: Kubectl) -> None:
    """The namespace enforces the profile: it refuses the same pod with one setting removed."""
    pod = installed.get("deployment", "wide", "--namespace", "wide")["spec"]["template"]["spec"]
    admit(installed, pod, "wide")
    webhook = installed.get("deployment", "wide-webhook", "--namespace", "wide")["spec"]["template"]["spec"]
    admit(installed, webhook, "wide")
    hooks = yaml.safe_load_all(installed.command("helm", "get", "hooks", "wide", "--namespace", "wide"))
    admit(installed, next(iter(hooks))["spec"], "wide")
    del pod["containers"][0]["securityContext"]["capabilities"]
    with pytest.raises(CommandError, match='violates PodSecurity "restricted'):
        admit(installed, pod, "wide")


@pytest.mark.parametrize("chosen", [{}, EVERYTHING["initContainer"]], ids=["default", "everything"])
def test_replicas_and_ranks_can_be_restricted(installed: Kubectl, chosen: Object) -> None:
    """Uses examples/restricted-namespace.yaml and the chart's settings of init containers."""
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
    """Raises CommandError if the API server refuses the pod."""
    account = {"serviceAccountName": pod.get("serviceAccountName", "wide")}
    found = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {**pod, **account},
    }
    kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(found))
