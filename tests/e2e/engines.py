"""Real engines that are asked otherwise than the demo's: one that embeds, one that asks for an API key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from e2e.steps import tiny
from harness.kubectl import Object

EMBEDDING = Path(__file__).resolve().parents[1] / "data" / "models" / "tiny-embedding"
MODEL = "/models/tiny-embedding"
API_KEY = "sk-tiny-0123456789"
KEY_SECRET = "tiny-api-key"


def embedding(name: str, namespace: str, **changes: Any) -> list[Object]:
    """A tiny Qwen3 that embeds, and the ConfigMap that holds it: unlike the demo's model it needs a tokenizer."""
    files = {path.name: path.read_text() for path in sorted(EMBEDDING.iterdir())}
    metadata = {"name": "tiny-embedding", "namespace": namespace}
    found = tiny(name, namespace)
    spec = found["spec"]
    arguments = [argument for argument in spec["engine"]["args"] if argument != "--skip-tokenizer-init"]
    spec["model"] = {"name": MODEL}
    spec["engine"]["args"] = [*arguments, "--runner=pooling", "--convert=embed"]
    spec["pod"]["volumes"].append({"name": "model", "configMap": {"name": "tiny-embedding"}})
    spec["pod"]["volumeMounts"].append({"name": "model", "mountPath": MODEL, "readOnly": True})
    found["spec"] = {**spec, **changes}
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files}, found]


def keyed(name: str, namespace: str, **changes: Any) -> list[Object]:
    """The demo's engine with an API key, and the Secret that holds it."""
    metadata = {"name": KEY_SECRET, "namespace": namespace}
    found = tiny(name, namespace)
    reference = {"secretKeyRef": {"name": KEY_SECRET, "key": "key"}}
    found["spec"]["engine"]["env"].append({"name": "VLLM_API_KEY", "valueFrom": reference})
    found["spec"] |= changes
    return [{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": API_KEY}}, found]
