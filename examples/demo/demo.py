"""Shows Tunecast on a real cluster in one command: tune once, prove the bundle, serve warm, scale out warm.

`make demo` starts a cluster. With CONTEXT=<kubectl context> it uses that cluster, which must have Tunecast installed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from harness import deploy
from harness.kubectl import Kubectl, Object, condition, wait_for

HERE = Path(__file__).resolve().parent
NAMESPACE, NAME = "demo", "tiny-qwen3"
BEGIN = time.monotonic()
SHOWN_SECONDS = 0.05  # shorter phases are left out of the table


def report(text: str) -> None:
    """Prints a line with the elapsed time."""
    print(f"[{time.monotonic() - BEGIN:6.1f} s] {text}", flush=True)


def bring_up() -> tuple[Kubectl, dict[str, str]]:
    report("starting a cluster with real Kubernetes, S3 and vLLM; missing programs and images are built first")
    deploy.build()
    deploy.cluster("up")
    environment = deploy.cluster_environment()
    kubectl = Kubectl(environment)
    report("loading the images of the operator and the init container")
    deploy.load_images()
    report("installing Tunecast with Helm")
    kubectl.apply(deploy.namespace(deploy.SYSTEM_NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"}))
    kubectl.apply(deploy.s3_secret(deploy.SYSTEM_NAMESPACE, environment))
    deploy.install(kubectl, deploy.values(environment))
    kubectl.apply(deploy.namespace(NAMESPACE))
    kubectl.apply(deploy.s3_secret(NAMESPACE, environment))
    return kubectl, environment


def watch_until_ready(kubectl: Kubectl, seconds: float) -> None:
    """Prints each change of the status until the replicas are ready."""
    shown = ""

    def look() -> bool:
        nonlocal shown
        found = kubectl.get("inferencedeployment", NAME, "-n", NAMESPACE)
        ready, cache = condition(found, "Ready"), condition(found, "CacheReady")
        line = (
            f"CACHE={found.get('status', {}).get('cache', '-')}  {cache.get('reason', '-')}: {cache.get('message', '')}"
        )
        line += f" | Ready={ready.get('status', '-')} {ready.get('message', '')}" + progress(kubectl)
        if line != shown:
            report(line)
        shown = line
        if condition(found, "Stalled").get("status") == "True":
            sys.exit(f"InferenceDeployment {NAMESPACE}/{NAME} has stalled: {condition(found, 'Stalled')['message']}")
        return bool(ready.get("status") == "True" and cache.get("status") == "True")

    wait_for(look, f"InferenceDeployment {NAMESPACE}/{NAME} is ready", seconds, every=1)


def progress(kubectl: Kubectl) -> str:
    for cache in kubectl.items("startupcaches", "-n", NAMESPACE):
        stage = (cache.get("status") or {}).get("progress", {}).get("stage")
        if stage:
            return f" | rank 0: {stage}"
    return ""


def scale_out_without_operator(kubectl: Kubectl) -> None:
    report("stopping the operator: kubectl scale deployment tunecast --replicas=0")
    kubectl("scale", "deployment", "tunecast", "-n", deploy.SYSTEM_NAMESPACE, "--replicas=0")
    kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=tunecast", "-n", deploy.SYSTEM_NAMESPACE)
    report(f"scaling out without the operator: kubectl scale deployment {NAME} --replicas=2")
    kubectl("scale", "deployment", NAME, "-n", NAMESPACE, "--replicas=2")
    kubectl("rollout", "status", f"deployment/{NAME}", "-n", NAMESPACE, "--timeout=5m", timeout=330)
    report("starting the operator again")
    kubectl("scale", "deployment", "tunecast", "-n", deploy.SYSTEM_NAMESPACE, "--replicas=1")
    kubectl("rollout", "status", "deployment/tunecast", "-n", deploy.SYSTEM_NAMESPACE, "--timeout=2m")


def tables(kubectl: Kubectl) -> str:
    """Returns tables of the proof by rank and of the starts by replica."""
    cache = next(c for c in kubectl.items("startupcaches", "-n", NAMESPACE) if c["status"].get("state") == "Ready")
    status = cache["status"]
    proof = status["proof"]
    cold = ["rank 0", "cold", *start_columns(proof["cold"])]
    ranks = [[f"rank {r['rank']}", "warm", *start_columns(r["warm"])] for r in proof["ranks"]]
    starts = table(["WHO", "START", "TO /health s", "INIT ENGINE s", "PHASES s"], [cold, *ranks])
    layers = [
        [
            f"rank {r['rank']}",
            layer["layer"],
            layer["verdict"],
            str(layer["files"]),
            str(layer["rebuilt"]),
            layer.get("reason", ""),
        ]
        for r in proof["ranks"]
        for layer in r["layers"]
    ]
    proved = table(["WHO", "LAYER", "VERDICT", "FILES", "REBUILT", "REASON"], layers)
    replicas = [
        replica(pod) for pod in kubectl.items("pods", "-n", NAMESPACE, "-l", f"tunecast.io/inference-deployment={NAME}")
    ]
    served = table(["REPLICA", "INIT REPORT", "FETCHED", "INIT s", "POD TO READY s"], replicas)
    verdict = "bundle {size}, speed-up {speedup}, verdict {verdict}, outputs {outputs}".format(**status)
    return f"\n{starts}\n\n{proved}\n\n{served}\n\n{verdict}\n"


def start_columns(start: Object) -> list[str]:
    phases = ", ".join(
        f"{name} {seconds:.1f}" for name, seconds in start.get("phases", {}).items() if seconds >= SHOWN_SECONDS
    )
    init = start.get("initSeconds")
    return [f"{start['totalSeconds']:.1f}", "-" if init is None else f"{init:.1f}", phases]


def replica(pod: Object) -> list[str]:
    status = next(s for s in pod["status"]["initContainerStatuses"] if s["name"] == "tunecast-init")
    found: dict[str, Any] = json.loads(status["state"]["terminated"]["message"])
    ready = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    seconds = moment(ready["lastTransitionTime"]) - moment(pod["metadata"]["creationTimestamp"])
    fetched = f"{found.get('bytes', 0) / 2**20:.1f} MiB"
    return [pod["metadata"]["name"], f"{found['result']} ({found['reason']})", fetched,
            f"{found.get('seconds', {}).get('total', 0):.2f}", f"{seconds:.0f}"]  # fmt: skip


def moment(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def table(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    )
    return "\n".join(lines)


def main() -> None:
    context = os.environ.get("CONTEXT")
    kubectl, environment = (Kubectl({}, context), {}) if context else bring_up()
    report(f"kubectl apply -f {HERE.name}/tiny-qwen3.yaml")
    kubectl("apply", "-f", str(HERE / "tiny-qwen3.yaml"))
    watch_until_ready(kubectl, 900)
    print("\n" + kubectl("get", "inferencedeployments,startupcaches", "-n", NAMESPACE), flush=True)
    scale_out_without_operator(kubectl)
    print(tables(kubectl), flush=True)
    report("done")
    if environment:
        tools = environment["PATH"].split(":", maxsplit=1)[0]
        print(f"To look further:  export KUBECONFIG={environment['KUBECONFIG']} PATH={tools}:$PATH")
    print(f"  kubectl describe startupcaches -n {NAMESPACE}")
    print(f"  kubectl get events -n {NAMESPACE} --sort-by=.lastTimestamp")
    print(f"  kubectl logs -n {NAMESPACE} deployment/{NAME} -c tunecast-init")
    print("  make demo-down removes the cluster")


if __name__ == "__main__":
    main()
