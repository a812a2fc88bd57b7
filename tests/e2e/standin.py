"""An engine in plain Python, for tests of what Tunecast does, in which vLLM's speed-up is irrelevant."""

from __future__ import annotations

from typing import Any

from e2e.steps import engine_of, tiny
from harness.deploy import ROOT
from harness.kubectl import Object

SCRIPT = ROOT / "tests" / "ranks" / "standin.py"


def script(namespace: str) -> Object:
    """Returns the ConfigMap with the engine's script."""
    metadata = {"name": "standin", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"standin.py": SCRIPT.read_text()}}


def standin(name: str, namespace: str, **changes: Any) -> Object:
    """Returns an InferenceDeployment of the stand-in; ranks use the torch of the demo's engine."""
    demo = tiny(name, namespace)
    pod, engine = demo["spec"]["template"]["spec"], engine_of(demo)
    container = {
        "command": ["python3", "/standin/standin.py", "vllm", "serve", "stand-in"],
        "args": ["--host=0.0.0.0", "--port=8000", "--compile-seconds=3"],
        "env": [{"name": "PATH", "value": "/opt/vllm/bin:/usr/local/bin:/usr/bin:/bin"}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "volumeMounts": [*engine["volumeMounts"], {"name": "standin", "mountPath": "/standin"}],
    }
    volumes = [*pod["volumes"], {"name": "standin", "configMap": {"name": "standin"}}]
    found = tiny(name, namespace, container, {"volumes": volumes})
    found["spec"] |= changes
    return found
