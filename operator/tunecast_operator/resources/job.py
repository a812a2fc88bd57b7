"""Builds one attempt: an Indexed Job with a pod for each rank, and the Secret that the ranks read."""

from __future__ import annotations

import base64
from typing import Any

from tunecast_core.records.codec import canonical
from tunecast_core.records.job import SETTINGS_FILE, JobSettings
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.engine import Engine
from tunecast_operator.identity import ATTEMPT_LABEL, CACHE_LABEL, CONTAINER_ANNOTATION, KEY_LABEL, MANAGED_BY
from tunecast_operator.resources.annotations import job_labels
from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.resources.owner import owner_reference
from tunecast_operator.resources.rank import rank_pod

RENDEZVOUS_PORT = 29400
KEEP_SECONDS = 24 * 3600  # a finished Job stays this long, for its logs and for an operator that was down


def attempt_name(cache: dict[str, Any], attempt: int) -> str:
    return f"{cache['metadata']['name']}-{attempt}"


def attempt_id(cache: dict[str, Any], attempt: int) -> str:
    """Returns the ID under which an attempt stages objects. Unlike the name of its Job, it is never reused."""
    return f"{cache['metadata']['uid']}-{attempt}"


def settings_name(cache: dict[str, Any], attempt: int) -> str:
    """Returns the name of an attempt's Secret, which no other object can have, since it contains a UID."""
    return f"tunecast-{attempt_id(cache, attempt)}"


def rendezvous_host(cache: dict[str, Any], attempt: int) -> str:
    """Returns the stable host name of rank 0 within the namespace."""
    return f"{attempt_name(cache, attempt)}-0.{cache['metadata']['name']}"


def job(
    cache: dict[str, Any], spec: StartupCacheSpec, engine: Engine, attempt: int, init: InitContainer
) -> dict[str, Any]:
    """Returns the Job of an attempt. No pod is restarted, and a disruption of one rank fails the whole attempt."""
    name, subdomain = attempt_name(cache, attempt), cache["metadata"]["name"]
    metadata = spec.template.get("metadata") or {}
    labels = {
        CACHE_LABEL: cache["metadata"]["name"],
        KEY_LABEL: spec.key,
        ATTEMPT_LABEL: str(attempt),
    }
    annotations = {**(metadata.get("annotations") or {}), CONTAINER_ANNOTATION: engine.name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": cache["metadata"]["namespace"],
            "labels": {
                **MANAGED_BY,
                **job_labels(metadata.get("labels") or {}),
                **labels,
            },  # such as Kueue's queue name
            "ownerReferences": [owner_reference(cache)],
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": spec.ranks,
            "parallelism": spec.ranks,
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    }
                ]
            },
            "template": {
                "metadata": {"labels": {**(metadata.get("labels") or {}), **labels}, "annotations": annotations},
                "spec": rank_pod(spec, engine, settings_name(cache, attempt), subdomain, init),
            },
        },
    }


def settings_secret(cache: dict[str, Any], attempt: int, settings: JobSettings) -> dict[str, Any]:
    """Returns the Secret with the settings of an attempt's ranks. Its presigned URLs are credentials."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": settings_name(cache, attempt),
            "namespace": cache["metadata"]["namespace"],
            "labels": {**MANAGED_BY, CACHE_LABEL: cache["metadata"]["name"]},
            "ownerReferences": [owner_reference(cache)],
        },
        "type": "tunecast.io/job",
        "data": {SETTINGS_FILE: base64.b64encode(canonical(settings)).decode()},
    }
