"""Real engines that serve other requests than the demo's: one embeds, and one requires an API key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from e2e.steps import engine_of, tiny
from harness.kubectl import Object

EMBEDDING = Path(__file__).resolve().parents[1] / "data" / "models" / "tiny-embedding"
MODEL = "/models/tiny-embedding"
API_KEY = "sk-tiny-0123456789"
KEY_SECRET = "tiny-api-key"


def embedding(name: str, namespace: str, **changes: Any) -> list[Object]:
    """Returns a tiny Qwen3 that embeds, and the ConfigMap with its files: it needs a tokenizer."""
    files = {path.name: path.read_text() for path in sorted(EMBEDDING.iterdir())}
    metadata = {"name": "tiny-embedding", "namespace": namespace}
    found = tiny(name, namespace)
    container, dropped = engine_of(found), {"--skip-tokenizer-init", "--model=/models/tiny"}
    arguments = [argument for argument in container["args"] if argument not in dropped]
    container["args"] = [f"--model={MODEL}", *arguments, "--runner=pooling", "--convert=embed"]
    container["volumeMounts"].append({"name": "model", "mountPath": MODEL, "readOnly": True})
    volume = {"name": "model", "configMap": {"name": "tiny-embedding"}}
    found["spec"]["template"]["spec"]["volumes"].append(volume)
    found["spec"] |= changes
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files}, found]


def keyed(name: str, namespace: str, **changes: Any) -> list[Object]:
    """Returns the demo's engine with an API key, and the Secret that holds the key."""
    metadata = {"name": KEY_SECRET, "namespace": namespace}
    found = tiny(name, namespace)
    reference = {"secretKeyRef": {"name": KEY_SECRET, "key": "key"}}
    engine_of(found)["env"].append({"name": "VLLM_API_KEY", "valueFrom": reference})
    found["spec"] |= changes
    return [{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": API_KEY}}, found]
