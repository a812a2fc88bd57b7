"""Pods as users write them, unchanged: each one behaves as docs/compatibility.md states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.kubectl import CommandError, Kubectl
from support.docs import tables
from support.driver import Driver
from support.s3 import S3
from tunecast_operator.conditions import find
from tunecast_operator.matching import matches
from tunecast_operator.runtime.cluster import DEPLOYMENT, INFERENCE_DEPLOYMENT, JOB, POD, STARTUP_CACHE, Object

pytestmark = pytest.mark.integration
PODS = Path(__file__).resolve().parents[1] / "data" / "pods"
OUTCOMES = {name.strip("`"): outcome for name, _, outcome in tables("compatibility.md")["Pods"]}
# Addresses of engines that are set in another way than by a literal flag.
PORTS = {
    "flags-abbreviated": 9000, "kserve-runtime": 8080, "llm-d-decode": 8200, "nginx-before-engine": 8001,
    "script-computes-an-address": 8200, "script-folded": 9000, "script-with-defaults": 8080, "shell-string": 8080,
    "mistake-flags-behind-script": 8000, "mistake-lost-line": 8000,
}  # fmt: skip
FIELD = [name for name in OUTCOMES if not name.startswith("mistake-")]


@pytest.fixture(scope="module")
def driver(kubernetes: Kubectl, s3: S3) -> Iterator[Driver]:
    kubernetes("create", "namespace", "pods")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        yield Driver(kubernetes.environment["KUBECONFIG"], s3.settings(), "pods")


def pasted(name: str) -> Object:
    """Returns an InferenceDeployment with the unchanged file as template; its second document has ``spec.engine``."""
    template, *more = yaml.safe_load_all((PODS / f"{name}.yaml").read_text())
    return {
        "apiVersion": INFERENCE_DEPLOYMENT.api_version,
        "kind": INFERENCE_DEPLOYMENT.name,
        "metadata": {"name": name[:40].rstrip("-"), "namespace": "pods"},
        "spec": {"template": template, **(more[0] if more else {})},
    }


def missing(wanted: Any, kept: Any, path: str = "template") -> list[str]:
    """Returns the paths of ``wanted`` that ``kept`` lacks or has with other values; lists of names may have more."""
    if isinstance(wanted, dict):
        kept = kept or {}
        return [p for k, v in wanted.items() if v not in (None, {}, []) for p in missing(v, kept.get(k), f"{path}.{k}")]
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], dict) and "name" in wanted[0]:
        named = {item["name"]: item for item in kept or ()}
        return [p for item in wanted for p in missing(item, named.get(item["name"]), f"{path}[{item['name']}]")]
    return [] if matches({"": wanted}, {"": kept}) else [path]


def outcome(driver: Driver, kubectl: Kubectl, name: str) -> tuple[str, str]:
    """Returns what a user sees: (works, notes), or (refused, reason)."""
    found = pasted(name)
    try:
        kubectl.apply(found)
    except CommandError as error:
        return "refused", str(error)
    driver.step()
    status = (driver.plain.get(INFERENCE_DEPLOYMENT, "pods", found["metadata"]["name"]) or {})["status"]
    stalled = find(status, "Stalled")
    if stalled["status"] == "True":
        return "refused", f"{stalled['reason']}: {stalled['message']}"
    return "works", "; ".join(status.get("notes", ()))


def test_the_table_has_every_pod_and_most_of_the_fields_work() -> None:
    assert sorted(OUTCOMES) == sorted(path.stem for path in PODS.glob("*.yaml"))
    works = [name for name in FIELD if OUTCOMES[name].startswith("works")]
    assert len(FIELD) >= 30
    assert len(works) >= 0.8 * len(FIELD)


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_pasted_pod_behaves_as_documented(driver: Driver, kubernetes: Kubectl, name: str) -> None:
    expected = OUTCOMES[name]
    verdict, words = outcome(driver, kubernetes, name)
    assert expected.split(":")[0].split(",")[0] == verdict, words
    quoted = re.findall(r"`([^`]+)`", expected)
    assert [part for part in quoted if part not in words] == [], words
    if verdict == "works":
        assert bool(words) == bool(quoted), words
        check_children(driver, name)


def check_probe(pod: Object, name: str) -> None:
    """Checks that the startup probe uses the engine's address."""
    (probe,) = (c["startupProbe"] for c in pod["containers"] if "/var/cache/tunecast" in mounts(c))
    if name in PORTS:
        assert probe["httpGet"]["port"] == PORTS[name]


def check_rank(rank: Object, pasted: Object) -> None:
    """Checks that a rank has only the engine, and the init containers that end."""
    (engine,) = rank["containers"]
    assert engine["name"] in {container["name"] for container in pasted["containers"]}
    ordinary = [i["name"] for i in pasted.get("initContainers", ()) if i.get("restartPolicy") != "Always"]
    assert [init["name"] for init in rank["initContainers"]] == ["tunecast-tools", *ordinary]


def mounts(container: Object) -> list[str]:
    return [mount["mountPath"] for mount in container.get("volumeMounts", ())]


def check_children(driver: Driver, name: str) -> None:
    """Checks that the API server accepted the Deployment with all written fields, and the Job of its ranks."""
    owner = pasted(name)
    live = driver.plain.get(DEPLOYMENT, "pods", owner["metadata"]["name"])
    assert live is not None
    replaced = {"VLLM_CACHE_ROOT", "TRITON_CACHE_DIR"}
    for container in owner["spec"]["template"]["spec"]["containers"]:
        container["env"] = [v for v in container.get("env", ()) if v["name"] not in replaced]
    assert missing(owner["spec"]["template"], live["spec"]["template"]) == []
    status = (driver.plain.get(INFERENCE_DEPLOYMENT, "pods", owner["metadata"]["name"]) or {})["status"]
    assert status["model"]
    check_probe(live["spec"]["template"]["spec"], name)
    [cache_name] = (cache["name"] for cache in status["startupCaches"])
    job = driver.until(lambda: driver.plain.get(JOB, "pods", f"{cache_name}-1"), "ranks are asked for")
    check_rank(job["spec"]["template"]["spec"], owner["spec"]["template"]["spec"])
    (cache,) = (c for c in driver.plain.list(STARTUP_CACHE, "pods") if c["metadata"]["name"] == cache_name)
    assert cache["spec"]["model"] == status["model"]
    for kind in (INFERENCE_DEPLOYMENT, STARTUP_CACHE):
        driver.plain.delete(kind, "pods", cache_name if kind is STARTUP_CACHE else owner["metadata"]["name"])
    driver.until(lambda: not driver.plain.list(POD, "pods"), "its pods are gone")
