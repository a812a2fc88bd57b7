"""The chart on a real API server: what it renders, what it may do, and that it passes Pod Security."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import deploy
from harness.kubectl import CommandError, Kubectl, Object
from support.chart import CHART, render
from support.objects import engine_in, key_in, snapshot_of, spec_of
from tunecast_cache.records import decode, from_json
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.engine import engine_of
from tunecast_operator.installation import from_environment
from tunecast_operator.resources.annotations import LOCAL_VOLUMES
from tunecast_operator.resources.init_container import ContainerSettings
from tunecast_operator.resources.rank import rank_pod
from tunecast_operator.resources.replica import replica_template
from tunecast_operator.resources.revision import Revision

ROOT = Path(__file__).resolve().parents[2]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
RESTRICTED_CONTEXT = ContainerSettings().security_context
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
EVERYTHING: dict[str, Any] = {
    "s3": {
        "bucket": "bundles",
        "prefix": "p",
        "endpoint": "https://s3",
        "region": "eu",
        "addressingStyle": "Virtual",
        "caCertificates": PEM,
        "proxy": "http://proxy:3128",
        "credentialsSecret": "keys",
    },
    "image": {"repository": "registry/operator", "tag": "v1", "pullPolicy": "Always"},
    "initImage": {"repository": "registry/init", "tag": "v2", "pullPolicy": "Never"},
    "imagePullSecrets": [{"name": "pull"}],
    "watchNamespaces": ["one", "two"],
    "initDeadlineSeconds": 30.5,
    "readNodes": False,
    "logLevel": "DEBUG",
    "crds": {"enabled": True, "keep": False},
    "serviceAccount": {"create": True, "name": "robot", "annotations": {"role": "reader"}},
    "podAnnotations": {"a": "1", LOCAL_VOLUMES: "cache"},
    "podLabels": {"b": "2"},
    "priorityClassName": "high",
    "nodeSelector": {"kind": "cpu"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "resources": {"limits": {"memory": "1Gi"}},
    "podSecurityContext": {"runAsUser": 1000730000},
    "securityContext": {"seccompProfile": None},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    "initContainer": {
        "resources": {"limits": {"cpu": "1"}},
        "securityContext": {"runAsUser": 1000730000, "seccompProfile": None},
        "extraEnv": [{"name": "CA", "value": "/ca/$(TUNECAST_KEY)"}],
        "extraEnvFrom": [{"configMapRef": {"name": "proxy", "optional": True}}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca", "optional": True}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    },
    "networkPolicy": {"enabled": True},
    "metrics": {
        "port": 9090,
        "serviceMonitor": {"enabled": True, "interval": "10s", "labels": {"release": "prometheus"}},
        "alerts": {"enabled": True},
        "dashboard": {"enabled": True},
    },
}


def operator_pod(objects: dict[tuple[str, str], Object]) -> Object:
    pod: Object = objects["Deployment", "t"]["spec"]["template"]["spec"]
    return pod


def environment(pod: Object) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}


def init_settings(pod: Object) -> ContainerSettings:
    """What the operator reads of it, as the kubelet passes it on."""
    text = environment(pod)["TUNECAST_INIT_CONTAINER"].replace("$$(", "$(")
    return decode(ContainerSettings, text.encode(), "initContainer")


def extras(pod: Object) -> None:
    """The pod has what was added by values."""
    container = pod["containers"][0]
    assert EVERYTHING["extraEnv"][0] in container["env"]
    assert container["envFrom"] == [*EVERYTHING["extraEnvFrom"], {"secretRef": {"name": "keys"}}]
    assert EVERYTHING["extraVolumes"][0] in pod["volumes"]
    assert EVERYTHING["extraVolumeMounts"][0] in container["volumeMounts"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000730000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert "seccompProfile" not in container["securityContext"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_lint_finds_nothing(kubernetes: Kubectl) -> None:
    kubernetes.command("helm", "lint", "--strict", CHART, "--values", "-", stdin=json.dumps(EVERYTHING))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"s3": {}}, "/s3"),
        ({"s3": {"bucket": ""}}, "/s3/bucket"),
        ({"s3": {"bucket": "bundles", "endpoint": "s3:9000"}}, "/s3/endpoint"),
        ({"s3": {"bucket": "bundles", "endpoint": "s3.example.com"}}, "/s3/endpoint"),
        ({"s3": {"bucket": "bundles", "endpoint": "ftp://s3.example.com"}}, "/s3/endpoint"),
        ({"s3": {"bucket": "bundles", "endpoint": "https://s3.example.com/storage"}}, "/s3/endpoint"),
        ({"s3": {"bucket": "bundles", "endpoint": "https://id:key@s3.example.com"}}, "/s3/endpoint"),
        ({"s3": {"bucket": "bundles", "endpoint": "https://s3.example.com?x=1"}}, "/s3/endpoint"),
        ({"s3": {"bucket": "bundles", "addressingStyle": "virtual"}}, "/s3/addressingStyle"),
        ({"s3": {"bucket": "my.bundles", "addressingStyle": "Virtual"}}, "my.bundles has a dot"),
        ({"s3": {"bucket": "bundles", "caCertificates": "ca.pem"}}, "/s3/caCertificates"),
        (
            {"s3": {"bucket": "bundles", "caCertificatesConfigMap": "a", "caCertificatesSecret": "b"}},
            "set one of s3.ca",
        ),
        ({"s3": {"bucket": "bundles", "proxy": "proxy:3128"}}, "/s3/proxy"),
        ({"s3": {"bucket": "bundles", "proxy": "https://proxy:3128"}}, "/s3/proxy"),
        ({"s3": {"bucket": "bundles", "proxy": "http://user:password@proxy:3128"}}, "/s3/proxy"),
        ({"nonsense": 1}, "'nonsense' not allowed"),
        ({"image": {"name": "x"}}, "'name' not allowed"),
        ({"logLevel": "LOUD"}, "/logLevel"),
        ({"initDeadlineSeconds": 0}, "/initDeadlineSeconds"),
        ({"watchNamespaces": "one"}, "/watchNamespaces"),
        ({"extraEnv": [{"name": "TUNECAST_BUCKET", "value": "x"}]}, "/extraEnv/0/name"),
        ({"extraVolumes": [{"name": "tmp"}]}, "/extraVolumes/0/name"),
        ({"extraVolumeMounts": [{"name": "ca", "mountPath": "/opt/tunecast"}]}, "/extraVolumeMounts/0/mountPath"),
        ({"initContainer": {"extraEnv": [{"name": "TUNECAST_KEY"}]}}, "/initContainer/extraEnv/0/name"),
        ({"initContainer": {"extraVolumeMounts": [{"name": "ca", "mountPath": "/tmp"}]}}, "/mountPath"),
        ({"initContainer": {"runAsUser": 0}}, "'runAsUser' not allowed"),
    ],
)
def test_wrong_values_are_refused(kubernetes: Kubectl, values: Object, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        render(kubernetes, **values)
    assert message in str(caught.value)


def test_the_least_that_one_must_say(kubernetes: Kubectl) -> None:
    objects = render(kubernetes)
    pod = operator_pod(objects)
    assert pod["containers"][0]["image"] == "tunecast/operator:0.2.0"
    assert environment(pod)["TUNECAST_INIT_IMAGE"] == "tunecast/init:0.2.0"
    assert environment(pod)["TUNECAST_BUCKET"] == "bundles"
    assert "envFrom" not in pod["containers"][0]
    assert not {"runAsUser", "runAsGroup"} & {*pod["securityContext"], *pod["containers"][0]["securityContext"]}
    assert init_settings(pod) == ContainerSettings()
    assert objects["Deployment", "t"]["spec"]["template"]["metadata"]["annotations"] == {LOCAL_VOLUMES: "tmp"}
    kept = objects["CustomResourceDefinition", "inferencedeployments.tunecast.io"]["metadata"]["annotations"]
    assert kept == {"helm.sh/resource-policy": "keep"}
    assert ("ClusterRole", "t") in objects
    assert ("NetworkPolicy", "t") not in objects
    assert not {"ServiceMonitor", "PrometheusRule"} & {kind for kind, _ in objects}


def test_everything_that_one_may_say(kubernetes: Kubectl) -> None:
    objects = render(kubernetes, **EVERYTHING)
    pod = operator_pod(objects)
    container = pod["containers"][0]
    assert (container["image"], container["imagePullPolicy"]) == ("registry/operator:v1", "Always")
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    listed = {LOCAL_VOLUMES: "cache,tmp"}
    assert objects["Deployment", "t"]["spec"]["template"]["metadata"]["annotations"] == {"a": "1", **listed}
    extras(pod)
    extras(objects["Pod", "t-check"]["spec"])
    chosen = init_settings(pod)
    assert chosen.resources == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "1", "memory": "512Mi"},
    }
    assert chosen.security_context["runAsUser"] == 1000730000
    assert "seccompProfile" not in chosen.security_context
    assert [*chosen.extra_env] == EVERYTHING["initContainer"]["extraEnv"]
    assert [*chosen.extra_env_from] == EVERYTHING["initContainer"]["extraEnvFrom"]
    assert [*chosen.extra_volumes] == EVERYTHING["initContainer"]["extraVolumes"]
    assert [*chosen.extra_volume_mounts] == EVERYTHING["initContainer"]["extraVolumeMounts"]
    variables = environment(pod)
    del variables["TUNECAST_INIT_CONTAINER"], variables["HTTPS_PROXY"]
    assert variables == {
        "TUNECAST_NAMESPACE": None,
        "TUNECAST_BUCKET": "bundles",
        "TUNECAST_PREFIX": "p",
        "TUNECAST_ENDPOINT": "https://s3",
        "TUNECAST_REGION": "eu",
        "TUNECAST_ADDRESSING_STYLE": "Virtual",
        "TUNECAST_PROXY": "http://proxy:3128",
        "TUNECAST_CA_FILE": "/etc/tunecast/store-ca/ca.crt",
        "TUNECAST_INIT_IMAGE": "registry/init:v2",
        "TUNECAST_INIT_PULL_POLICY": "Never",
        "TUNECAST_INIT_DEADLINE_SECONDS": "30.5",
        "TUNECAST_WATCH_NAMESPACES": "one,two",
        "TUNECAST_LOG_LEVEL": "DEBUG",
        "TUNECAST_METRICS_PORT": "9090",
        "TUNECAST_READ_NODES": "false",
    }
    assert (pod["serviceAccountName"], pod["priorityClassName"]) == ("robot", "high")
    assert objects["CustomResourceDefinition", "startupcaches.tunecast.io"]["metadata"].get("annotations", {}) == {}
    assert not [name for kind, name in objects if kind.startswith("ClusterRole")]
    assert objects["NetworkPolicy", "t"]["spec"]["ingress"] == [{"ports": [{"port": 9090, "protocol": "TCP"}]}]
    assert objects["Service", "t-metrics"]["spec"]["ports"][0]["port"] == 9090
    monitor = objects["ServiceMonitor", "t"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["endpoints"] == [{"port": "metrics", "interval": "10s", "honorLabels": True}]
    assert objects["PrometheusRule", "t"]["spec"] == yaml.safe_load(Path(CHART, "files", "alerts.yaml").read_text())
    dashboard = objects["ConfigMap", "t-dashboard"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["tunecast.json"])["title"] == "Tunecast"


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ({"caCertificatesConfigMap": "authorities"}, {"configMap": {"name": "authorities"}}),
        ({"caCertificatesSecret": "authorities"}, {"secret": {"secretName": "authorities"}}),
    ],
)
def test_certificates_of_authorities_can_be_anywhere_in_the_releases_namespace(
    kubernetes: Kubectl, values: Object, source: Object
) -> None:
    objects = render(kubernetes, s3={"bucket": "bundles", **values})
    for pod in (operator_pod(objects), objects["Pod", "t-check"]["spec"]):
        assert {"name": "store-ca", **source} in pod["volumes"]
        mount = next(mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "store-ca")
        assert f"{mount['mountPath']}/ca.crt" == environment(pod)["TUNECAST_CA_FILE"]


def test_certificates_that_are_given_are_in_a_config_map_that_is_named_after_them(kubernetes: Kubectl) -> None:
    """So that the operator, which reads them once, starts again with others."""
    names = set()
    for pem in (PEM, PEM.replace("MIIB", "MIIC")):
        objects = render(kubernetes, s3={"bucket": "bundles", "caCertificates": pem})
        [volume] = [volume for volume in operator_pod(objects)["volumes"] if volume["name"] == "store-ca"]
        name = volume["configMap"]["name"]
        assert objects["ConfigMap", name]["data"] == {"ca.crt": pem}
        names.add(name)
    assert len(names) == 2


def test_without_certificates_nothing_is_mounted(kubernetes: Kubectl) -> None:
    pod = operator_pod(render(kubernetes))
    assert environment(pod)["TUNECAST_CA_FILE"] is None
    assert "store-ca" not in str(pod)


@pytest.mark.parametrize("endpoint", ["", "https://s3.example.com", "http://minio:9000/", "https://[fd00::1]:9000"])
def test_endpoints_that_one_may_name(kubernetes: Kubectl, endpoint: str) -> None:
    pod = operator_pod(render(kubernetes, s3={"bucket": "bundles", "endpoint": endpoint}))
    assert environment(pod)["TUNECAST_ENDPOINT"] == endpoint


def test_values_of_an_earlier_release_lack_what_is_new(kubernetes: Kubectl) -> None:
    """As with ``helm upgrade --reuse-values``, which leaves the defaults of new values out."""
    s3 = {"bucket": "bundles", "addressingStyle": None}
    assert environment(operator_pod(render(kubernetes, s3=s3)))["TUNECAST_ADDRESSING_STYLE"] in {"", None}
    required = {"TUNECAST_BUCKET": "b", "TUNECAST_NAMESPACE": "n", "TUNECAST_INIT_IMAGE": "i"}
    assert from_environment({**required, "TUNECAST_ADDRESSING_STYLE": ""}).store.addressing_style == "Auto"


def test_crds_can_be_left_out(kubernetes: Kubectl) -> None:
    objects = render(kubernetes, crds={"enabled": False})
    assert not [name for kind, name in objects if kind == "CustomResourceDefinition"]


# --- installed -------------------------------------------------------------------------------------------------------


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
