"""One engine in several forms that users' pods have: each is tuned, proves Hit and serves from its bundle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e import forms
from e2e.engines import API_KEY
from e2e.forms import ENTRYPOINT, FORMS, NAMESPACE, SCRIPT, TLS
from e2e.steps import cache_of, engine_of, init_report, rank_pods, serving_pods, until_cache, until_ready
from e2e.world import World
from harness.kubectl import Object, condition

pytestmark = pytest.mark.e2e
ENDS = {"Published", "Ineffective", "AttemptsExhausted", "TimedOut", "InvalidSpec"}
TUNE_SECONDS = 1800.0
ASK = "import ssl, urllib.request as u; print(u.urlopen({url!r}, context=ssl._create_unverified_context()).status)"


@pytest.fixture(scope="module")
def begun(world: World) -> Iterator[World]:
    forms.begin(world)
    yield world
    world.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest, begun: World) -> str:
    name: str = request.param
    served(begun, name)
    return name


def served(world: World, name: str) -> Object:
    """Waits until tuning has ended; returns the form's one replica, which is ready."""
    until_cache(world.kubectl, name, NAMESPACE, ENDS, TUNE_SECONDS)
    until_ready(world.kubectl, name, NAMESPACE)
    [replica] = serving_pods(world.kubectl, name, NAMESPACE)
    return replica


def containers(pod: Object) -> list[str]:
    return [container["name"] for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])]


def asked(world: World, replica: Object, url: str) -> str:
    """Returns the engine's HTTP status, or the error, as a client in its container sees it."""
    where = ("-n", NAMESPACE, replica["metadata"]["name"], "-c", "vllm")
    script = f'python3 -c "{ASK.format(url=url)}" 2>&1 || true'
    return world.kubectl("exec", *where, "--", "sh", "-c", script).strip()


def test_it_is_tuned_and_proves_hit(begun: World, form: str) -> None:
    status = cache_of(begun.kubectl, form, NAMESPACE)["status"]
    assert (status["state"], status["verdict"], status["attempt"]) == ("Ready", "Hit", 1)
    [rank] = status["proof"]["ranks"]
    verdicts = {layer["layer"]: layer["verdict"] for layer in rank["layers"]}
    assert verdicts == {"PythonBytecode": "Hit", "TorchCompile": "Hit", "VllmMeta": "Hit"}


def test_its_engine_answered_the_sweep(begun: World, form: str) -> None:
    """This also holds with TLS and with an API key. Some requests are refused, because this model has no tokenizer."""
    sweep = cache_of(begun.kubectl, form, NAMESPACE)["status"]["proof"]["sweep"]
    assert sweep["route"] == "/v1/completions"
    assert sweep["refused"] < 0.1 * sweep["requests"], sweep


def test_its_replica_serves_from_the_bundle(begun: World, form: str) -> None:
    """The pod is ready by its own probes, if it has any, and no container was restarted."""
    replica = served(begun, form)
    assert (init_report(replica)["result"], init_report(replica)["reason"]) == ("Hit", "Installed")
    assert condition(replica, "Ready")["status"] == "True"
    assert {status["restartCount"] for status in replica["status"]["containerStatuses"]} == {0}


def test_probes_hook_and_grace_period_stay_as_written(begun: World) -> None:
    """Compares only the written fields, because the API server adds defaults."""
    wanted = engine_of(forms.behind_tls())
    replica = served(begun, TLS)
    [engine] = replica["spec"]["containers"]
    for field in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
        assert {**engine[field], **wanted[field]} == engine[field], field
    assert replica["spec"]["terminationGracePeriodSeconds"] == forms.GRACE_SECONDS


def test_an_engine_behind_tls_answers_on_its_own_port_alone(begun: World) -> None:
    replica = served(begun, TLS)
    assert asked(begun, replica, f"https://127.0.0.1:{forms.HTTPS_PORT}/v1/models") == "200"
    assert "refused" in asked(begun, replica, "http://127.0.0.1:8000/v1/models")
    service = begun.kubectl.get("service", TLS, "-n", NAMESPACE)
    assert [port["appProtocol"] for port in service["spec"]["ports"]] == ["https"]


def test_replicas_keep_every_container_and_ranks_what_fetches_weights(begun: World) -> None:
    replica = served(begun, SCRIPT)
    assert containers(replica) == ["proxy", "fetch", "tunecast-init", "vllm", "adapters"]
    job = cache_of(begun.kubectl, SCRIPT, NAMESPACE)["metadata"]["name"]
    [rank] = [pod for pod in rank_pods(begun.kubectl, NAMESPACE) if pod["metadata"]["name"].startswith(job)]
    assert containers(rank) == ["tunecast-tools", "fetch", "vllm"]


def test_an_api_key_from_a_variable_is_required_and_never_printed(begun: World) -> None:
    replica = served(begun, ENTRYPOINT)
    assert "401" in asked(begun, replica, "http://127.0.0.1:8000/v1/models")
    ours = ("inferencedeployments,startupcaches,jobs,pods,events,configmaps", "-n", NAMESPACE, "-o", "json")
    assert API_KEY not in begun.kubectl("get", *ours)


def test_the_entrypoint_of_a_well_known_image_needs_no_setting(begun: World) -> None:
    owner = begun.kubectl.get("infd", ENTRYPOINT, "-n", NAMESPACE)
    assert owner["spec"]["engine"] == {}
    assert "notes" not in owner["status"]
