"""Builds the spec of a StartupCache from an InferenceDeployment: everything that shapes its Job. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.engine import Engine
from tunecast_operator.identity import digest
from tunecast_operator.plan.hardware import Target
from tunecast_operator.resources.rank import on_nodes, rank_template


def cache_spec(spec: InferenceDeploymentSpec, engine: Engine, key: str, key_version: int) -> dict[str, Any]:
    """Returns the spec of a new StartupCache."""
    tuning = spec.model_dump(mode="json", by_alias=True, exclude_none=True)["tuning"]
    snapshot = {
        "key": key,
        "keyVersion": key_version,
        "model": engine.line.model,
        "template": rank_template(spec.template, engine, spec.tuning.template),
        "engine": {
            "container": engine.name,
            **({"entrypoint": list(engine.entrypoint)} if engine.entrypoint else {}),
        },
        **{name: tuning[name] for name in ("workload", "ranks", "generation", "timeout", "queueTimeout", "attempts")},
        "excludeLayers": spec.cache.layers.exclude,
    }
    return snapshot | ({"sweep": tuning["sweep"]} if tuning.get("sweep") else {})


def for_hardware(snapshot: Mapping[str, Any], target: Target) -> tuple[str, dict[str, Any]]:
    """Returns the name and the spec of a StartupCache whose ranks run on ``target``.

    The name doesn't depend on the nodes that have the hardware, so that InferenceDeployments share the StartupCache.
    """
    named = {**snapshot, "hardware": target.hardware}
    template = on_nodes(snapshot["template"], target.node_selector_terms)
    return cache_name(named), {**named, "template": template}


def cache_name(snapshot: Mapping[str, Any]) -> str:
    """Returns a name for everything that shapes the Job: "qwen3-30b-a3b-" and ten hex digits.

    Time limits, the number of attempts and annotations don't shape the Job, so they aren't part of the name.
    """
    shape = {name: value for name, value in snapshot.items() if name not in {"timeout", "queueTimeout", "attempts"}}
    metadata = {name: value for name, value in shape["template"]["metadata"].items() if name != "annotations"}
    shape["template"] = {**shape["template"], "metadata": metadata}
    slug = re.sub(r"[^a-z0-9]+", "-", snapshot["model"].rsplit("/", 1)[-1].lower()).strip("-")[:24].strip("-")
    slug = slug if slug[:1].isalpha() else f"m-{slug}".rstrip("-")
    return f"{slug}-{digest(shape)[:10]}"
