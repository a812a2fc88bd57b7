"""An engine of the standard library's alone, for tests that ask what Tunecast does and not what vLLM gains."""

from __future__ import annotations

from typing import Any

from e2e.steps import engine_of, tiny
from harness.deploy import ROOT
from harness.kubectl import Object

SCRIPT = ROOT / "tests" / "ranks" / "standin.py"


def script(namespace: str) -> Object:
    """The ConfigMap that it is started from."""
    metadata = {"name": "standin", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"standin.py": SCRIPT.read_text()}}


def standin(name: str, namespace: str, **changes: Any) -> Object:
    """An InferenceDeployment of it; ranks take torch from where the demo's engine is."""
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
