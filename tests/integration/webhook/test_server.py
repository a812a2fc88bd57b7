"""The whole webhook as a process that a real API server calls."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from harness.kubectl import Kubectl, Object, wait_for
from support.adopted import adopted_pod
from support.chart import render
from support.objects import inference_deployment, snapshot_of
from support.operator_process import answers
from support.webhook_process import Release, reviewed
from tunecast_core.key import MOUNT_PATH

pytestmark = pytest.mark.integration
NAMESPACE, RELEASE = "webhook-pods", "webhook-release"
KEY, NOT_INJECTED = "tunecast.io/key", "tunecast.io/not-injected"
CACHE = "known-0123456789"
SECONDS = 30


@pytest.fixture(scope="module")
def release(kubernetes: Kubectl) -> Iterator[Release]:
    kubernetes("create", "namespace", NAMESPACE)
    kubernetes("wait", "--for=create", "serviceaccount/default", "--namespace", NAMESPACE, "--timeout=60s")
    found = Release(kubernetes, RELEASE)
    yield found
    found.uninstall()


@pytest.fixture
def serving(release: Release, tmp_path: Path) -> Iterator[Release]:
    """A webhook that is ready."""
    release.install(release.new_certificate())
    with release.process(tmp_path):
        wait_for(lambda: release.ready, "the webhook is ready", SECONDS, every=0.1)
        wait_for(lambda: KEY in created(release)["metadata"]["labels"], "the API server trusts it", SECONDS)
        yield release


def pod(name: str = "adopted", **annotations: str) -> Object:
    """A pod as its owner writes it."""
    [container] = adopted_pod()["spec"]["containers"]
    container = {**container, "volumeMounts": []}
    settings = {f"tunecast.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"tunecast.io/inject": "true"}, "annotations": settings}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def created(release: Release, **annotations: str) -> Object:
    """The pod as the API server would store it."""
    return release.kubectl.create(pod(**annotations), "--dry-run=server")


def variables(container: Object) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def test_a_labelled_pod_is_created_injected(serving: Release) -> None:
    made = serving.kubectl.create(pod("injected"))
    assert made["metadata"]["annotations"]["tunecast.io/injected"] == "true"
    [init] = made["spec"]["initContainers"]
    assert (init["name"], init["image"]) == ("tunecast-init", "init:1")
    assert variables(init)["TUNECAST_KEY"] == made["metadata"]["labels"][KEY]
    serving.kubectl("delete", "pod", "injected", "--namespace", NAMESPACE, "--wait=false")


def test_a_webhook_without_a_certificate_is_not_ready(release: Release, tmp_path: Path) -> None:
    release.kubectl("delete", "secret", "tunecast-webhook", "--namespace", RELEASE, "--ignore-not-found")
    with release.process(tmp_path):
        assert not release.ready
        release.put(dict.fromkeys(("tls.crt", "tls.key"), ""))
        wait_for(lambda: "no certificate that can be served" in log(tmp_path), "the Secret is read", SECONDS)
        assert not release.ready
        with pytest.raises(ssl.SSLError):
            release.connection()
        release.put(release.certificate.data)
        wait_for(lambda: release.ready, "the webhook is ready", SECONDS, every=0.1)
        assert answers(f"{release.url}/healthz")


def test_a_webhook_is_ready_once_it_may_watch_what_the_chart_allows(release: Release, tmp_path: Path) -> None:
    release.put(release.certificate.data)
    release.kubectl("create", "serviceaccount", "webhook", "--namespace", RELEASE)
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(release.kubectl, kubeconfig)
    apply_rights(release, "Role")
    with release.process(tmp_path, str(kubeconfig)):
        wait_for(lambda: "serving with the certificate" in log(tmp_path), "the certificate is there", SECONDS)
        wait_for(lambda: "forbidden" in log(tmp_path), "the watches are refused", SECONDS)
        assert not release.ready
        apply_rights(release, "ClusterRole")
        wait_for(lambda: release.ready, "the webhook is ready", SECONDS, every=0.1)
    release.kubectl("delete", "clusterrole,clusterrolebinding", RELEASE)


def write_kubeconfig(kubectl: Kubectl, file: Path) -> None:
    """Writes a kubeconfig of the service account, which has only the rights that were given to it."""
    token = kubectl("create", "token", "webhook", "--namespace", RELEASE).strip()
    found = json.loads(kubectl("config", "view", "--raw", "--output=json"))
    found["users"] = [{"name": user["name"], "user": {"token": token}} for user in found["users"]]
    file.write_text(json.dumps(found))


def apply_rights(release: Release, kind: str) -> None:
    """Applies the chart's roles and bindings of one kind to the service account."""
    subject = {"kind": "ServiceAccount", "name": "webhook", "namespace": RELEASE}
    name = "t-webhook-certificate" if kind == "Role" else "t-webhook"
    role, binding = (render(release.kubectl)[what, name] for what in (kind, f"{kind}Binding"))
    metadata = {"name": RELEASE, **({"namespace": RELEASE} if kind == "Role" else {})}
    rules = [
        {**rule, **({"resourceNames": ["tunecast-webhook"]} if rule["resources"] == ["secrets"] else {})}
        for rule in role["rules"]
    ]
    release.kubectl.apply(
        {**role, "metadata": metadata, "rules": rules},
        {**binding, "metadata": metadata, "roleRef": {**binding["roleRef"], "name": RELEASE}, "subjects": [subject]},
    )


def served(release: Release) -> str:
    """The certificate that a new connection gets, in PEM."""
    return ssl.get_server_certificate(("127.0.0.1", release.port), timeout=10)


def test_a_renewed_certificate_is_served_without_a_restart(serving: Release) -> None:
    after = serving.new_certificate()
    serving.put(after.data)
    wait_for(lambda: served(serving).split() == after.certificate.decode().split(), "the new one", SECONDS, every=0.1)
    assert serving.ready


def test_a_certificate_with_the_key_of_another_is_not_served(serving: Release, tmp_path: Path) -> None:
    other = serving.new_certificate().data
    serving.put({**other, "tls.key": serving.certificate.data["tls.key"]})
    wait_for(lambda: "no certificate that can be served" in log(tmp_path), "the Secret is read", SECONDS)
    assert served(serving).split() == serving.certificate.certificate.decode().split()
    assert KEY in created(serving)["metadata"]["labels"]
    serving.kubectl("delete", "secret", "tunecast-webhook", "--namespace", RELEASE)
    wait_for(lambda: "it is empty" in log(tmp_path) or "tls.crt" in log(tmp_path), "the deletion is seen", SECONDS)
    assert KEY in created(serving)["metadata"]["labels"]


def test_defaults_of_the_namespace_apply_and_a_bad_one_blocks_no_pod(serving: Release) -> None:
    def put(**data: str) -> None:
        metadata = {"name": "tunecast-defaults", "namespace": NAMESPACE}
        serving.kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def excluded() -> str:
        inits = created(serving)["spec"].get("initContainers") or [{"env": []}]
        return variables(inits[-1]).get("TUNECAST_EXCLUDED_LAYERS", "")

    def reason() -> str:
        return str(created(serving)["metadata"]["annotations"].get(NOT_INJECTED, ""))

    put(**{"exclude-layers": "Triton"})
    wait_for(lambda: excluded() == "Triton", "the default", SECONDS, every=0.1)
    put(**{"exclude-layers": "Tritom"})
    wait_for(lambda: "key exclude-layers of ConfigMap tunecast-defaults" in reason(), "the reason", SECONDS, every=0.1)
    assert "initContainers" not in created(serving)["spec"]
    serving.kubectl("delete", "configmap", "tunecast-defaults", "--namespace", NAMESPACE)
    wait_for(lambda: not reason() and not excluded(), "no default", SECONDS, every=0.1)


def test_variables_of_a_ready_bundle_are_set_as_long_as_it_is_there(serving: Release) -> None:
    def pycache() -> str:
        return variables(created(serving)["spec"]["containers"][0]).get("PYTHONPYCACHEPREFIX", "")

    spec = {**snapshot_of(inference_deployment()), "key": created(serving)["metadata"]["labels"][KEY]}
    metadata = {"name": CACHE, "namespace": NAMESPACE}
    cache = {"apiVersion": "tunecast.io/v1alpha2", "kind": "StartupCache", "metadata": metadata, "spec": spec}
    serving.kubectl.create(cache)
    where = ("startupcache", CACHE, "--namespace", NAMESPACE)
    assert pycache() == ""
    prefix = f"{MOUNT_PATH}/pycache"
    status = {"state": "Ready", "environment": {"PYTHONPYCACHEPREFIX": prefix}}
    serving.kubectl("patch", *where, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    wait_for(lambda: pycache() == prefix, "the variable", SECONDS, every=0.1)
    serving.kubectl("delete", *where)
    serving.kubectl.create(cache)
    wait_for(lambda: pycache() == "", "no variable before the new one is ready", SECONDS, every=0.1)
    serving.kubectl("delete", *where)


def test_pods_are_created_as_they_are_without_the_webhook(release: Release) -> None:
    assert not answers(f"{release.url}/healthz")
    made = created(release)
    assert KEY not in made["metadata"]["labels"]
    assert "initContainers" not in made["spec"]


def post(connection: HTTPSConnection) -> str | None:
    """Asks about a pod, and returns the answer's header Connection."""
    connection.request("POST", "/mutate", json.dumps(reviewed(pod(), NAMESPACE)))
    response = connection.getresponse()
    assert json.loads(response.read())["response"]["allowed"] is True
    assert response.status == 200
    return response.getheader("Connection")


def test_a_webhook_that_ends_drains_its_connections(release: Release, tmp_path: Path) -> None:
    release.put(release.certificate.data)
    with release.process(tmp_path) as process:
        wait_for(lambda: release.ready, "the webhook is ready", SECONDS, every=0.1)
        with closing(release.connection()) as busy, closing(release.connection()) as idle:
            assert [post(busy), post(busy), post(idle)] == [None] * 3, "connections are kept"
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: not release.ready, "the webhook is not ready any more", 5, every=0.02)
            assert post(busy) == "close"
            with closing(release.connection()) as late:
                assert post(late) == "close", "API servers that have not heard of it still get an answer"
            assert idle.sock.recv(1) == b"", "the idle connection is closed"
        assert process.wait(5) == 0


def log(folder: Path) -> str:
    return (folder / "log").read_text()
