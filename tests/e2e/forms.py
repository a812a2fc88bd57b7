"""The demo's engine in other forms that users' pods have; the demo itself starts the api_server module."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from e2e.elsewhere import small
from e2e.engines import keyed
from e2e.steps import engine_of, tiny
from e2e.world import World
from harness import deploy
from harness.kubectl import Object
from support.authority import Authority

NAMESPACE = "forms"
TLS, SCRIPT, ENTRYPOINT = "behind-tls", "script", "entrypoint"
FORMS = (TLS, SCRIPT, ENTRYPOINT)
MODEL = "/models/tiny"
HTTPS_PORT, SIDECAR_PORT = 8443, 9000
GRACE_SECONDS = 45
CERTIFICATES, WEIGHTS = "/etc/tls", "/weights"
IMAGE, ENGINE_BASE = "localhost/vllm-openai:v0.32.0", "localhost/engine-base:1"
SIDECAR = {"image": "localhost/python:3", "command": ["python3", "-m", "http.server", str(SIDECAR_PORT)]}
TUNING = {"ranks": 1, "timeout": "30m"}  # three engines start at the same time


def begin(world: World) -> None:
    """Starts all tunings at the same time."""
    name = ("--name", world.environment["TUNECAST_CLUSTER"])
    folder = str(Path(__file__).parent / "vllm-openai")
    deploy.cluster("image", "build", "--tag", IMAGE, "--build-arg", f"BASE={ENGINE_BASE}", folder)
    deploy.cluster("image", "load", IMAGE, *name)
    world.namespace(NAMESPACE)
    world.kubectl.apply(certificate(), behind_tls(), script(), *entrypoint())


def certificate() -> Object:
    """Returns a Secret with a certificate that neither the kubelet nor ranks can verify."""
    with TemporaryDirectory() as folder:
        files = Authority().server(Path(folder), "tiny.example")
        data = {"tls.crt": files.certificate.read_text(), "tls.key": files.key.read_text()}
    metadata = {"name": TLS, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "stringData": data}


def behind_tls() -> Object:
    """Returns ``vllm serve X`` with TLS, another port, and its own probes, hook and grace period."""
    found = form(TLS)
    engine, pod = engine_of(found), found["spec"]["template"]["spec"]
    tls = [f"--ssl-certfile={CERTIFICATES}/tls.crt", f"--ssl-keyfile={CERTIFICATES}/tls.key"]
    engine["command"] = ["vllm", "serve", MODEL]
    engine["args"] += [*tls, f"--port={HTTPS_PORT}"]
    engine["ports"] = [{"name": "https", "containerPort": HTTPS_PORT}]
    engine["volumeMounts"].append({"name": "tls", "mountPath": CERTIFICATES, "readOnly": True})
    pod["volumes"].append({"name": "tls", "secret": {"secretName": TLS}})
    engine |= {
        "startupProbe": {**https("/health"), "periodSeconds": 3, "failureThreshold": 600},
        "readinessProbe": {**https("/v1/models"), "periodSeconds": 3, "timeoutSeconds": 10},
        "livenessProbe": {**https("/health"), "periodSeconds": 30, "timeoutSeconds": 30},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    }
    pod["terminationGracePeriodSeconds"] = GRACE_SECONDS
    return found


def https(path: str) -> Object:
    return {"httpGet": {"path": path, "port": "https", "scheme": "HTTPS"}}


def script() -> Object:
    """Returns an engine behind ``bash -c``, whose model an init container fetches, with two sidecars."""
    found = form(SCRIPT, engine={"container": "vllm"})
    engine, pod = engine_of(found), found["spec"]["template"]["spec"]
    flags = " \\\n  ".join(f"'{argument}'" for argument in engine.pop("args"))
    engine["command"] = ["bash", "-ec", f'export MODEL="{WEIGHTS}/tiny"\nexec vllm serve "$MODEL" \\\n  {flags}\n']
    mount = {"name": "weights", "mountPath": WEIGHTS}
    engine["volumeMounts"].append({**mount, "readOnly": True})
    pod["volumes"].append({"name": "weights", "emptyDir": {}})
    fetch = ["sh", "-ec", f"mkdir {WEIGHTS}/tiny && cp {MODEL}/config.json {WEIGHTS}/tiny/"]
    pod["initContainers"] = [
        {"name": "proxy", "restartPolicy": "Always", **SIDECAR},
        {"name": "fetch", "image": ENGINE_BASE, "command": fetch, "volumeMounts": [mount]},
    ]
    pod["containers"].append({"name": "adapters", "image": "localhost/python:3", "command": ["sleep", "infinity"]})
    return found


def entrypoint() -> list[Object]:
    """Returns an engine whose image starts vLLM, with args only; one is an API key from a variable. Adds its Secret."""
    secret, found = keyed(ENTRYPOINT, NAMESPACE, replicas=1, tuning=TUNING)
    engine = engine_of(small(found))
    del engine["command"]
    engine["image"] = IMAGE
    (key,) = (variable for variable in engine["env"] if variable["name"] == "VLLM_API_KEY")
    key["name"] = "KEY_OF_CLIENTS"
    engine["args"] = [MODEL, *(a for a in engine["args"] if a != f"--model={MODEL}"), "--api-key=$(KEY_OF_CLIENTS)"]
    return [secret, found]


def form(name: str, **changes: Any) -> Object:
    """Returns one replica of a model of one layer, tuned on one rank."""
    found = small(tiny(name, NAMESPACE, replicas=1, tuning=TUNING, **changes))
    engine_of(found)["args"].remove(f"--model={MODEL}")
    return found
