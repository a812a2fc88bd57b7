"""The webhook's certificate and its configuration, as the operator keeps them on a real API server."""

from __future__ import annotations

import base64
import itertools
import json
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from harness.kubectl import CommandError, Kubectl, Object, wait_for
from harness.policies import pod
from support.admission import CALLED, Webhook, configuration, service, webhook
from support.operator_process import environment as variables
from support.operator_process import operator
from support.s3 import S3
from tunecast_core.trust.settings import StoreSettings
from tunecast_operator import times
from tunecast_operator.reconcile.webhook import (
    LOOK_SECONDS,
    OVERLAP,
    PROPAGATION_SECONDS,
    WebhookConfigurationError,
    WebhookReconciler,
)
from tunecast_operator.resources.certificate import LIFE, issue, problem, service_names
from tunecast_operator.runtime.cluster import MUTATING_WEBHOOK_CONFIGURATION, SECRET, connect
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.metrics import Metrics

pytestmark = pytest.mark.integration
NUMBERS = itertools.count()
SERVICE, TLS = "tunecast-webhook", "tunecast-webhook-tls"
MINUTE = 60.0


class Release:
    """A namespace with the objects of the chart, and the operator's reconciler, whose clock is the test's."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl, self.namespace, self.name = kubectl, namespace, namespace
        self.cluster = connect(1, kubectl.environment["KUBECONFIG"])
        self.names = service_names(SERVICE, namespace)
        self.now, self.metrics = times.utc_now(), Metrics(times.utc_now())
        self.restart()

    def restart(self) -> None:
        """A new operator, with nothing in memory."""
        installation = Installation(
            StoreSettings("bucket"), self.namespace, "init:1",
            webhook_secret=TLS, webhook_configuration=self.name, webhook_service=SERVICE,
        )  # fmt: skip
        self._reconciler = WebhookReconciler(self.cluster, installation, lambda: self.now, self.metrics)

    def look(self) -> float:
        return self._reconciler.reconcile("", self.name)

    def settle(self) -> None:
        """Looks again as soon as the reconciler asks for it, until nothing is left to do."""
        for _ in range(5):
            if self.look() == LOOK_SECONDS:
                return
        pytest.fail("the certificate does not settle")

    def secret(self) -> Object:
        return self.cluster.get(SECRET, self.namespace, TLS) or {}

    def bundle(self) -> str:
        found = self.cluster.get(MUTATING_WEBHOOK_CONFIGURATION, "", self.name) or {}
        [one] = found["webhooks"]
        return str(one["clientConfig"].get("caBundle", ""))

    def authorities(self) -> int:
        return base64.b64decode(self.bundle()).count(b"BEGIN CERTIFICATE")

    def put(self, data: dict[str, str]) -> None:
        """As somebody else writes the Secret."""
        metadata = {"name": TLS, "namespace": self.namespace}
        written = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        self.cluster.delete(SECRET, self.namespace, TLS)
        self.cluster.create(SECRET, {**written, "type": "kubernetes.io/tls"})

    def set_bundle(self, bundle: str) -> None:
        patch = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}]
        self.kubectl("patch", "mutatingwebhookconfiguration", self.name, "--type=json", "-p", json.dumps(patch))

    def healthy(self) -> bool:
        """The Secret has nothing wrong with it, and API servers trust its authority."""
        data = self.secret().get("data") or {}
        trusted = base64.b64decode(self.bundle())
        return not problem(data, self.names, self.now) and base64.b64decode(data["ca.crt"]) in trusted

    def versions(self) -> list[str]:
        configured = self.cluster.get(MUTATING_WEBHOOK_CONFIGURATION, "", self.name) or {}
        return [found["metadata"]["resourceVersion"] for found in (configured, self.secret())]


@pytest.fixture
def release(kubernetes: Kubectl) -> Iterator[Release]:
    name = f"webhook-certificates-{next(NUMBERS)}"
    kubernetes("create", "namespace", name)
    kubernetes.apply(configuration(name, SERVICE, name))
    yield Release(kubernetes, name)
    kubernetes("delete", "mutatingwebhookconfiguration", name, "--ignore-not-found")


def test_a_fresh_installation_gets_a_certificate_that_api_servers_trust(release: Release) -> None:
    release.settle()
    assert release.healthy()
    assert release.secret()["type"] == "kubernetes.io/tls"
    assert release.authorities() == 1
    assert release.look() == LOOK_SECONDS


def test_api_servers_trust_a_certificate_before_webhook_pods_can_load_it(release: Release) -> None:
    assert release.look() == PROPAGATION_SECONDS
    assert (release.authorities(), release.secret()) == (1, {})
    assert release.look() == LOOK_SECONDS
    assert release.healthy()


def test_nothing_is_written_while_nothing_is_wrong(release: Release) -> None:
    release.settle()
    before = release.versions()
    release.restart()
    assert [release.look(), release.look()] == [LOOK_SECONDS] * 2
    assert release.versions() == before


def spoil(release: Release, what: str) -> None:
    other = issue(release.names, release.now)
    garbage = base64.b64encode(b"garbage").decode()
    data: dict[str, str] = release.secret()["data"]
    if what == "deleted":
        release.kubectl("delete", "secret", TLS, "--namespace", release.namespace)
    elif what == "bundle emptied":
        release.set_bundle("")
    elif what == "bundle of another authority":
        release.set_bundle(other.data["ca.crt"])
    else:
        release.put(
            {
                "expired": issue(release.names, release.now - LIFE - timedelta(days=1)).data,
                "expires soon": issue(release.names, release.now - LIFE * 0.7).data,
                "not yet valid": issue(release.names, release.now + timedelta(days=1)).data,
                "for another Service": issue(service_names("other", release.namespace), release.now).data,
                "key of another": data | {"tls.key": other.data["tls.key"]},
                "authority of another": data | {"ca.crt": other.data["ca.crt"]},
                "garbage": dict.fromkeys(data, garbage),
                "without its authority": {name: data[name] for name in ("tls.crt", "tls.key")},
            }[what]
        )


@pytest.mark.parametrize("overlapping", [True, False], ids=["at once", "later"])
@pytest.mark.parametrize(
    "what",
    [
        "deleted", "expired", "expires soon", "not yet valid", "for another Service", "key of another",
        "authority of another", "garbage", "without its authority", "bundle emptied", "bundle of another authority",
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_put_right(release: Release, what: str, overlapping: bool) -> None:
    release.settle()
    release.now += timedelta() if overlapping else OVERLAP
    spoil(release, what)
    release.settle()
    assert release.healthy()
    release.now += OVERLAP
    release.settle()
    assert (release.healthy(), release.authorities()) == (True, 1)


def test_an_immutable_secret_is_reported_and_replaced_once_it_is_deleted(release: Release) -> None:
    release.settle()
    release.put(dict.fromkeys(("tls.crt", "tls.key"), ""))
    release.kubectl("patch", "secret", TLS, "-n", release.namespace, "-p", '{"immutable": true}')
    assert release.look() == PROPAGATION_SECONDS
    with pytest.raises(Exception, match="field is immutable"):
        release.look()
    release.kubectl("delete", "secret", TLS, "-n", release.namespace)
    release.settle()
    assert release.healthy()


def test_an_opaque_secret_is_filled(release: Release) -> None:
    release.kubectl("create", "secret", "generic", TLS, "-n", release.namespace, "--from-literal=mine=kept")
    release.settle()
    assert release.healthy()
    assert release.secret()["type"] == "Opaque"
    assert release.secret()["data"]["mine"] == base64.b64encode(b"kept").decode()


def test_a_configuration_that_is_not_there_is_reported_and_never_created(release: Release) -> None:
    release.kubectl("delete", "mutatingwebhookconfiguration", release.name)
    for _ in range(2):
        with pytest.raises(WebhookConfigurationError, match=r"does not exist.*upgrade the Helm release") as raised:
            release.look()
        assert release.name in str(raised.value)
        assert raised.value.reason == "NoWebhookConfiguration"
    assert release.cluster.get(MUTATING_WEBHOOK_CONFIGURATION, "", release.name) is None
    assert problem(release.secret()["data"], release.names, release.now) == ""
    release.kubectl.apply(configuration(release.name, SERVICE, release.namespace))
    release.settle()
    assert release.healthy()


def test_only_the_bundle_of_the_configuration_is_the_operators(release: Release) -> None:
    """So Helm and GitOps tools keep all that they wrote, and see no conflict."""
    release.kubectl("delete", "mutatingwebhookconfiguration", release.name)
    chart = json.dumps(configuration(release.name, SERVICE, release.namespace))
    apply = ("apply", "--server-side", "--field-manager=gitops", "-f", "-")
    release.kubectl(*apply, stdin=chart)
    release.settle()
    before = release.bundle()
    assert release.kubectl("diff", *apply[1:], stdin=chart) == "", "no difference to what they own"
    release.kubectl(*apply, stdin=chart)
    assert release.bundle() == before
    found = release.cluster.get(MUTATING_WEBHOOK_CONFIGURATION, "", release.name) or {}
    [ours] = [entry for entry in found["metadata"]["managedFields"] if entry["manager"] == "tunecast"]
    hook: Object = {".": {}, "f:name": {}, "f:clientConfig": {"f:caBundle": {}}}
    assert ours["fieldsV1"] == {"f:webhooks": {'k:{"name":"pods.tunecast.io"}': hook}}


def test_two_operators_settle_on_one_certificate(release: Release) -> None:
    """As when a node with an operator is cut off, and another one is started."""
    other = Release(release.kubectl, release.namespace)
    release.look()
    other.look()
    release.settle()
    other.settle()
    release.settle()
    assert release.healthy()


def test_an_operator_that_ends_halfway_leaves_nothing_broken(release: Release) -> None:
    release.settle()
    release.put(issue(release.names, release.now - LIFE * 0.7).data)
    release.settle()
    release.now += LIFE * 0.7
    assert release.look() == PROPAGATION_SECONDS
    assert release.healthy() is False, "the Secret is to be renewed"
    release.restart()
    release.settle()
    assert release.healthy()


def test_the_metric_is_what_the_secret_holds(release: Release) -> None:
    release.settle()
    labels = f'{{name="{TLS}",namespace="{release.namespace}"}}'
    sample = f"tunecast_webhook_certificate_expiry_timestamp_seconds{labels} "

    def shown() -> list[float]:
        lines = generate_latest(release.metrics.registry).decode().splitlines()
        return [float(line.removeprefix(sample)) for line in lines if line.startswith(sample)]

    assert shown() == [pytest.approx((release.now + LIFE).timestamp(), abs=1)]
    spoil(release, "expired")
    release.look()
    assert shown() == [pytest.approx((release.now - timedelta(days=1)).timestamp(), abs=1)]
    spoil(release, "garbage")
    release.restart()
    release.look()
    assert shown() == []


@pytest.fixture
def called(release: Release, tmp_path: Path) -> Iterator[Webhook]:
    """A webhook that the API server calls for the pods of the release's namespace, or refuses them."""
    address = release.kubectl.environment["TUNECAST_HOST_ADDRESS"]
    with webhook(address, tmp_path) as found:
        release.kubectl.apply(
            service(SERVICE, release.namespace, address),
            configuration(release.name, SERVICE, release.namespace, found.port),
        )
        yield found


def test_no_pod_is_refused_while_a_certificate_is_renewed(release: Release, called: Webhook) -> None:
    """Webhook pods load the new certificate at any time after it is in the Secret, each at another one."""
    before = issue(release.names, release.now - LIFE * 0.7)
    release.put(before.data)
    called.load(before.data)
    release.set_bundle(before.data["ca.crt"])
    wait_for(lambda: create_pod(release), "the API server calls the webhook", 30)
    assert release.look() == PROPAGATION_SECONDS
    wait_for(lambda: create_pod(release), "the API server has both authorities", 30)
    assert release.look() == LOOK_SECONDS
    after: dict[str, str] = release.secret()["data"]
    assert after["tls.crt"] != before.data["tls.crt"]
    for data in (before.data, after, before.data, after):
        called.load(data)
        assert create_pod(release), "no call fails, whichever of them a webhook pod has"
    release.now += OVERLAP
    release.settle()
    assert create_pod(release)
    called.load(before.data)
    wait_for(lambda: not create_pod(release), "API servers trust the former authority no more", 30)


def create_pod(release: Release) -> bool:
    """Whether the webhook was called for it. The API server refuses it where the call fails."""
    labels = {"tunecast.io/inject": "true"}
    try:
        made = release.kubectl.create(pod("probe", release.namespace, labels=labels), "--dry-run=server")
    except CommandError as error:
        if "failed calling webhook" in str(error) or "serviceaccount" in str(error):
            return False
        raise
    return bool(made["metadata"]["labels"].items() >= CALLED.items())


def test_the_operator_heals_within_a_minute(release: Release, s3: S3, tmp_path: Path) -> None:
    """As a process, by its own queue and clock."""
    settings = {
        **variables(release.kubectl.environment["KUBECONFIG"], release.namespace, s3.settings(), s3.environment),
        "TUNECAST_WEBHOOK_SECRET": TLS,
        "TUNECAST_WEBHOOK_CONFIGURATION": release.name,
        "TUNECAST_WEBHOOK_SERVICE": SERVICE,
    }

    def healed() -> bool:
        release.now = times.utc_now()
        return release.healthy()

    with operator(settings, tmp_path):
        wait_for(healed, "a fresh installation is put right", MINUTE)
        for what in ("deleted", "expired", "bundle of another authority"):
            spoil(release, what)
            wait_for(healed, f"{what}: put right", MINUTE)
        release.kubectl("delete", "mutatingwebhookconfiguration", release.name)
        wait_for(lambda: failures(settings) > 0, "what is missing is reported", MINUTE)
        release.kubectl.apply(configuration(release.name, SERVICE, release.namespace))
        wait_for(healed, "the restored configuration is put right", MINUTE)
    assert f"MutatingWebhookConfiguration {release.name} does not exist" in (tmp_path / "log").read_text()


def failures(settings: dict[str, str]) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{settings['TUNECAST_METRICS_PORT']}/metrics", timeout=5) as response:
        lines = response.read().decode().splitlines()
    name = 'tunecast_reconciles_total{kind="MutatingWebhookConfiguration",result="Failure"} '
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))
