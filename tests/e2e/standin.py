"""An engine of the standard library's alone, for tests that ask what Tunecast does and not what vLLM gains."""

from __future__ import annotations

from typing import Any

from e2e.steps import tiny
from harness.deploy import ROOT
from harness.kubectl import Object

SCRIPT = ROOT / "tests" / "ranks" / "standin.py"


def script(namespace: str) -> Object:
    """The ConfigMap that it is started from."""
    metadata = {"name": "standin", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"standin.py": SCRIPT.read_text()}}


def standin(name: str, namespace: str, **changes: Any) -> Object:
    """An InferenceDeployment of it; ranks take torch from where the demo's engine is."""
    found = tiny(name, namespace)
    engine, pod = found["spec"]["engine"], found["spec"]["pod"]
    found["spec"] |= {
        "model": {"name": "stand-in"},
        "engine": {
            "image": engine["image"],
            "command": ["python3", "/standin/standin.py", "vllm", "serve"],
            "args": ["--host=0.0.0.0", "--port=8000", "--compile-seconds=3"],
            "env": [{"name": "PATH", "value": "/opt/vllm/bin:/usr/local/bin:/usr/bin:/bin"}],
            "port": 8000,
        },
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "pod": {
            "volumes": [*pod["volumes"], {"name": "standin", "configMap": {"name": "standin"}}],
            "volumeMounts": [*pod["volumeMounts"], {"name": "standin", "mountPath": "/standin"}],
        },
        **changes,
    }
    return found
