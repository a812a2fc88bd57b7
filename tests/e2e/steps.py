"""Changes the demo's InferenceDeployment, and reads what a user would look at."""

from __future__ import annotations

import json
from typing import Any

from harness.deploy import ROOT
from harness.kubectl import Kubectl, Object, condition, wait_for

EXAMPLE = ROOT / "examples" / "demo" / "tiny-qwen3.yaml"
TUNE_SECONDS = 600.0


def tiny(
    name: str, namespace: str, container: Object | None = None, pod: Object | None = None, **changes: Any
) -> Object:
    """Returns the demo's object under another name, with parts of its spec replaced; objects are merged.

    ``container`` and ``pod`` are fields of the engine's container and of its pod.
    """
    found: Object = json.loads(_as_json(EXAMPLE.read_text()))
    found["metadata"] = {"name": name, "namespace": namespace}
    found["spec"]["template"]["spec"] |= pod or {}
    engine_of(found)["resources"]["requests"]["cpu"] = "100m"  # so that several tunings fit on a small node
    engine_of(found).update(container or {})
    for field, value in changes.items():
        old = found["spec"].get(field)
        found["spec"][field] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def _as_json(text: str) -> str:
    import yaml  # noqa: PLC0415 - the demo shares this package's harness, and has no PyYAML

    return json.dumps(yaml.safe_load(text))


def engine_of(found: Object) -> Object:
    """Returns the engine's container of an InferenceDeployment."""
    container: Object = found["spec"]["template"]["spec"]["containers"][0]
    return container


def environment_without(*names: str) -> list[Object]:
    return [v for v in engine_of(tiny("x", "x"))["env"] if v["name"] not in names]


def until_ready(kubectl: Kubectl, name: str, namespace: str, seconds: float = TUNE_SECONDS) -> Object:
    """Runs ``kubectl wait --for=condition=Ready``; returns the object."""
    kubectl(
        "wait",
        "--for=condition=Ready",
        f"infd/{name}",
        "-n",
        namespace,
        f"--timeout={seconds:.0f}s",
        timeout=seconds + 30,
    )
    return kubectl.get("infd", name, "-n", namespace)


def until_cache(
    kubectl: Kubectl, name: str, namespace: str, reasons: set[str], seconds: float = TUNE_SECONDS
) -> Object:
    """Waits until the InferenceDeployment's CacheReady has one of ``reasons``; returns the condition."""

    def look() -> Object | None:
        found = condition(kubectl.find("infd", name, "-n", namespace), "CacheReady")
        return found if found.get("reason") in reasons else None

    return wait_for(look, f"{namespace}/{name} has CacheReady={'|'.join(sorted(reasons))}", seconds)


def cache_of(kubectl: Kubectl, name: str, namespace: str) -> Object:
    owner = kubectl.get("infd", name, "-n", namespace)
    return kubectl.get("stc", owner["status"]["startupCaches"][0]["name"], "-n", namespace)


def serving_pods(kubectl: Kubectl, name: str, namespace: str) -> list[Object]:
    return kubectl.items("pods", "-n", namespace, "-l", f"tunecast.io/inference-deployment={name}")


def rank_pods(kubectl: Kubectl, namespace: str) -> list[Object]:
    return kubectl.items("pods", "-n", namespace, "-l", "tunecast.io/startup-cache")


def init_report(pod: Object) -> Object:
    status = next(s for s in pod["status"]["initContainerStatuses"] if s["name"] == "tunecast-init")
    report: Object = json.loads(status["state"]["terminated"]["message"])
    return report


def our_events(kubectl: Kubectl, namespace: str) -> list[tuple[str, str, str]]:
    """Returns (kind, name, reason) of every Event that Tunecast wrote."""
    found = kubectl.items("events", "-n", namespace)
    ours = (e for e in found if (e.get("source") or {}).get("component") == "tunecast")
    return [(e["involvedObject"]["kind"], e["involvedObject"]["name"], e["reason"]) for e in ours]
