"""The objects that the chart renders, and the values that it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.kubectl import CommandError, Kubectl, Object
from support.chart import CHART, EVERYTHING, PEM, render
from tunecast_core.records.codec import decode
from tunecast_operator.resources.annotations import LOCAL_VOLUMES
from tunecast_operator.resources.certificate import service_names
from tunecast_operator.resources.init_container import ContainerSettings
from tunecast_operator.runtime.installation import from_environment


def operator_pod(objects: dict[tuple[str, str], Object]) -> Object:
    pod: Object = objects["Deployment", "t"]["spec"]["template"]["spec"]
    return pod


def environment(pod: Object) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}


def init_settings(pod: Object) -> ContainerSettings:
    """Returns the init container's settings as the operator reads them."""
    text = environment(pod)["TUNECAST_INIT_CONTAINER"].replace("$$(", "$(")
    return decode(ContainerSettings, text.encode(), "initContainer")


def extras(pod: Object) -> None:
    """Checks that the pod has everything that values add."""
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
            "set only one of s3.ca",
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
        ({"tuning": {"maxConcurrent": -1}}, "/tuning/maxConcurrent"),
        ({"tuning": {"maxConcurrentPerNamespace": 1.5}}, "/tuning/maxConcurrentPerNamespace"),
        ({"tuning": {"ranks": 2}}, "'ranks' not allowed"),
        ({"metrics": {"port": 9443}}, "/metrics/port"),
        ({"webhook": {"replicas": 0}}, "/webhook/replicas"),
        ({"webhook": {"timeoutSeconds": 31}}, "/webhook/timeoutSeconds"),
        ({"webhook": {"failurePolicy": "Fail"}}, "'failurePolicy' not allowed"),
        ({"webhook": {"certManager": {"issuer": "x"}}}, "'issuer' not allowed"),
        ({"adoption": {"defaults": {"tuningPolicy": "TuneFirst"}}}, "/adoption/defaults/tuningPolicy"),
        ({"adoption": {"defaults": {"ranks": 0}}}, "/adoption/defaults/ranks"),
        ({"adoption": {"defaults": {"excludeLayers": ["All"]}}}, "/adoption/defaults/excludeLayers/0"),
        ({"adoption": {"defaults": {"rank": 1}}}, "'rank' not allowed"),
    ],
)
def test_wrong_values_are_refused(kubernetes: Kubectl, values: Object, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        render(kubernetes, **values)
    assert message in str(caught.value)


def test_values_may_set_where_the_drivers_files_are(kubernetes: Kubectl) -> None:
    """The one variable of Tunecast's that nodes know better than the operator."""
    proc = {"name": "TUNECAST_PROC", "value": "/host/proc"}
    pod = operator_pod(render(kubernetes, initContainer={"extraEnv": [proc]}))
    assert '"TUNECAST_PROC"' in (environment(pod)["TUNECAST_INIT_CONTAINER"] or "")


def test_the_required_values_suffice(kubernetes: Kubectl) -> None:
    objects = render(kubernetes)
    pod = operator_pod(objects)
    assert pod["containers"][0]["image"] == "tunecast/operator:0.2.0"
    assert environment(pod)["TUNECAST_INIT_IMAGE"] == "tunecast/init:0.2.0"
    assert environment(pod)["TUNECAST_BUCKET"] == "bundles"
    assert environment(pod)["TUNECAST_TUNING_MAX_CONCURRENT"] == "4"
    assert "envFrom" not in pod["containers"][0]
    assert not {"runAsUser", "runAsGroup"} & {*pod["securityContext"], *pod["containers"][0]["securityContext"]}
    assert init_settings(pod) == ContainerSettings()
    assert objects["Deployment", "t"]["spec"]["template"]["metadata"]["annotations"] == {LOCAL_VOLUMES: "tmp"}
    kept = objects["CustomResourceDefinition", "inferencedeployments.tunecast.io"]["metadata"]["annotations"]
    assert kept == {"helm.sh/resource-policy": "keep"}
    assert ("ClusterRole", "t") in objects
    assert ("NetworkPolicy", "t") not in objects
    assert not {"ServiceMonitor", "PrometheusRule"} & {kind for kind, _ in objects}


def test_every_value_is_rendered(kubernetes: Kubectl) -> None:
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
    del variables["TUNECAST_INIT_CONTAINER"], variables["TUNECAST_ADOPTION_DEFAULTS"], variables["HTTPS_PROXY"]
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
        "TUNECAST_TUNING_MAX_CONCURRENT": "6",
        "TUNECAST_TUNING_MAX_CONCURRENT_PER_NAMESPACE": "2",
        "TUNECAST_WEBHOOK_SECRET": "t-webhook",
        "TUNECAST_WEBHOOK_CONFIGURATION": "t-webhook",
        "TUNECAST_WEBHOOK_SERVICE": "t-webhook",
    }
    assert (pod["serviceAccountName"], pod["priorityClassName"]) == ("robot", "high")
    assert objects["CustomResourceDefinition", "startupcaches.tunecast.io"]["metadata"].get("annotations", {}) == {}
    assert {name for kind, name in objects if kind.startswith("ClusterRole")} == {"t-webhook-issuer"}
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
    """The operator reads them once, so other certificates must restart it."""
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
def test_valid_endpoints_are_accepted(kubernetes: Kubectl, endpoint: str) -> None:
    pod = operator_pod(render(kubernetes, s3={"bucket": "bundles", "endpoint": endpoint}))
    assert environment(pod)["TUNECAST_ENDPOINT"] == endpoint


def test_values_of_an_earlier_release_lack_what_is_new(kubernetes: Kubectl) -> None:
    """``helm upgrade --reuse-values`` leaves the defaults of new values out."""
    s3 = {"bucket": "bundles", "addressingStyle": None}
    assert environment(operator_pod(render(kubernetes, s3=s3)))["TUNECAST_ADDRESSING_STYLE"] in {"", None}
    required = {"TUNECAST_BUCKET": "b", "TUNECAST_NAMESPACE": "n", "TUNECAST_INIT_IMAGE": "i"}
    assert from_environment({**required, "TUNECAST_ADDRESSING_STYLE": ""}).store.addressing_style == "Auto"


def test_the_webhook_is_asked_about_labelled_pods_alone(kubernetes: Kubectl) -> None:
    """And no pod is refused, whatever becomes of the webhook."""
    configuration = render(kubernetes)["MutatingWebhookConfiguration", "t-webhook"]
    [webhook] = configuration["webhooks"]
    assert webhook["rules"] == [
        {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["pods"],
            "scope": "Namespaced",
        }
    ]
    assert webhook["objectSelector"] == {"matchLabels": {"tunecast.io/inject": "true"}}
    name = "kubernetes.io/metadata.name"
    elsewhere = {"key": name, "operator": "NotIn", "values": ["kube-system", "tunecast-system"]}
    assert webhook["namespaceSelector"] == {"matchExpressions": [elsewhere]}
    assert (webhook["failurePolicy"], webhook["timeoutSeconds"], webhook["sideEffects"]) == ("Ignore", 3, "None")
    assert (webhook["reinvocationPolicy"], webhook["matchPolicy"]) == ("IfNeeded", "Equivalent")
    service = {"name": "t-webhook", "namespace": "tunecast-system", "path": "/mutate", "port": 443}
    assert webhook["clientConfig"] == {"service": service}, "and no caBundle, which is the operator's"
    narrow = render(kubernetes, watchNamespaces=["one", "two"])["MutatingWebhookConfiguration", "t-webhook"]
    watched = {"key": name, "operator": "In", "values": ["one", "two"]}
    assert narrow["webhooks"][0]["namespaceSelector"] == {"matchExpressions": [elsewhere, watched]}


def test_the_webhooks_pods_are_reached_where_they_listen(kubernetes: Kubectl) -> None:
    objects = render(kubernetes, networkPolicy={"enabled": True})
    deployment, service = objects["Deployment", "t-webhook"], objects["Service", "t-webhook"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        service["spec"]["selector"],
        deployment["spec"]["selector"]["matchLabels"],
        objects["PodDisruptionBudget", "t-webhook"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy", "t-webhook"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    operators = objects["Deployment", "t"]["spec"]["selector"]["matchLabels"]
    assert not operators.items() <= labels.items(), "no selector of the operator's takes the webhook's pods"
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"admission": 9443, "health": 8080, "metrics": 8081}
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["admission", "metrics"]
    allowed = objects["NetworkPolicy", "t-webhook"]["spec"]["ingress"]
    assert allowed == [{"ports": [{"port": 9443, "protocol": "TCP"}, {"port": 8081, "protocol": "TCP"}]}]


def test_the_webhook_stays_available_while_it_is_upgraded_and_nodes_are_drained(kubernetes: Kubectl) -> None:
    objects = render(kubernetes)
    spec = objects["Deployment", "t-webhook"]["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]["maxUnavailable"]) == (2, 0)
    assert objects["PodDisruptionBudget", "t-webhook"]["spec"]["minAvailable"] == 1
    [spread] = spec["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    alone = render(kubernetes, webhook={"replicas": 1})
    assert ("PodDisruptionBudget", "t-webhook") not in alone, "it would hold up each drain of the one replica's node"


def test_everything_that_one_may_say_of_the_webhook(kubernetes: Kubectl) -> None:
    objects = render(kubernetes, **EVERYTHING)
    chosen, spec = EVERYTHING["webhook"], objects["Deployment", "t-webhook"]["spec"]
    pod = spec["template"]["spec"]
    assert spec["replicas"] == 3
    assert {name: pod[name] for name in chosen.keys() - {"replicas", "timeoutSeconds", "resources"}} == {
        name: value for name, value in chosen.items() if name not in {"replicas", "timeoutSeconds", "resources"}
    }
    [container] = pod["containers"]
    assert container["resources"]["limits"] == {"memory": "256Mi"}
    assert container["image"] == "registry/operator:v1"
    operators, webhooks = environment(operator_pod(objects)), environment(pod)
    same = {
        "TUNECAST_NAMESPACE", "TUNECAST_INIT_IMAGE", "TUNECAST_INIT_PULL_POLICY", "TUNECAST_INIT_CONTAINER",
        "TUNECAST_WATCH_NAMESPACES", "TUNECAST_LOG_LEVEL", "TUNECAST_METRICS_PORT", "TUNECAST_WEBHOOK_SECRET",
        "TUNECAST_ADOPTION_DEFAULTS",
    }  # fmt: skip
    assert {name: webhooks[name] for name in same} == {name: operators[name] for name in same}
    assert webhooks.keys() == same
    defaults = webhooks["TUNECAST_ADOPTION_DEFAULTS"]
    assert json.loads(defaults.replace("$$(", "$(")) == EVERYTHING["adoption"]["defaults"]
    configuration = objects["MutatingWebhookConfiguration", "t-webhook"]
    assert configuration["webhooks"][0]["timeoutSeconds"] == 5
    monitored = objects["ServiceMonitor", "t"]["spec"]["selector"]
    [among] = monitored["matchExpressions"]
    for service in ("t-metrics", "t-webhook"):
        labels = objects["Service", service]["metadata"]["labels"]
        assert monitored["matchLabels"].items() <= labels.items()
        assert labels[among["key"]] in among["values"]


@pytest.mark.parametrize(
    ("issuer", "reference"),
    [
        ({}, {"kind": "Issuer", "name": "t-webhook"}),
        ({"kind": "ClusterIssuer", "name": "internal"}, {"kind": "ClusterIssuer", "name": "internal"}),
    ],
)
def test_cert_manager_can_issue_the_webhooks_certificate(
    kubernetes: Kubectl, issuer: Object, reference: Object
) -> None:
    objects = render(kubernetes, webhook={"certManager": {"enabled": True, "issuerRef": issuer}})
    certificate = objects["Certificate", "t-webhook"]["spec"]
    assert certificate["issuerRef"] == reference
    assert (("Issuer", "t-webhook") in objects) == (not issuer)
    assert certificate["dnsNames"] == [*service_names("t-webhook", "tunecast-system")]
    webhooks = environment(objects["Deployment", "t-webhook"]["spec"]["template"]["spec"])
    assert certificate["secretName"] == webhooks["TUNECAST_WEBHOOK_SECRET"]
    annotations = objects["MutatingWebhookConfiguration", "t-webhook"]["metadata"]["annotations"]
    assert annotations == {"cert-manager.io/inject-ca-from": "tunecast-system/t-webhook"}
    assert not [name for name in environment(operator_pod(objects)) if "WEBHOOK" in name]
    assert not [name for _, name in objects if name.endswith("-issuer")], "the operator has no right to either"


@pytest.mark.parametrize("values", [{"webhook": {"enabled": False}}, {"webhook": None, "adoption": None}])
def test_the_webhook_can_be_left_out(kubernetes: Kubectl, values: Object) -> None:
    """As it is where an upgrade reuses the values of a release that had none."""
    objects = render(kubernetes, **values, networkPolicy={"enabled": True})
    assert not [name for _, name in objects if "webhook" in name]
    assert not [name for name in environment(operator_pod(objects)) if "WEBHOOK" in name]


def test_crds_can_be_left_out(kubernetes: Kubectl) -> None:
    objects = render(kubernetes, crds={"enabled": False})
    assert not [name for kind, name in objects if kind == "CustomResourceDefinition"]
