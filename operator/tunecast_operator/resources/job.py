"""One attempt of a tuning Job: an Indexed Job with a pod per rank, and the Secret that its ranks read."""

from __future__ import annotations

import base64
from typing import Any

from tunecast_cache.job import SETTINGS_DIRECTORY, SETTINGS_FILE, TEMPORARY_DIRECTORY, JobSettings
from tunecast_cache.records import canonical
from tunecast_operator.api.command_line import command_line
from tunecast_operator.api.kernel_cache import KernelCacheSpec
from tunecast_operator.identity import ATTEMPT_LABEL, CACHE_LABEL, KEY_LABEL, MANAGED_BY
from tunecast_operator.resources.annotations import rank_annotations, rank_labels
from tunecast_operator.resources.deployment import owner_reference
from tunecast_operator.resources.init_container import InitContainer, init_container
from tunecast_operator.resources.pod import pod_spec

RENDEZVOUS_PORT = 29400
TOOLS_DIRECTORY = "/run/tunecast/tools"
TOOLS_VOLUME = "tunecast-tools"
SETTINGS_VOLUME = "tunecast-job"
TEMPORARY_VOLUME = "tunecast-tmp"
KEEP_SECONDS = 24 * 3600  # a finished Job stays this long: for its logs, and for an operator that was away


def attempt_name(cache: dict[str, Any], attempt: int) -> str:
    return f"{cache['metadata']['name']}-{attempt}"


def attempt_id(cache: dict[str, Any], attempt: int) -> str:
    """Where an attempt stages: unlike its name it never comes again."""
    return f"{cache['metadata']['uid']}-{attempt}"


def settings_name(cache: dict[str, Any], attempt: int) -> str:
    """Of its Secret: no other object has this name already, whatever its KernelCache was called."""
    return f"tunecast-{attempt_id(cache, attempt)}"


def rendezvous_host(cache: dict[str, Any], attempt: int) -> str:
    """Rank 0's stable name, within the namespace."""
    return f"{attempt_name(cache, attempt)}-0.{cache['metadata']['name']}"


def job(cache: dict[str, Any], spec: KernelCacheSpec, attempt: int, init: InitContainer) -> dict[str, Any]:
    """Ranks live and die together: no pod is ever started again, and a disruption fails the whole attempt."""
    name = attempt_name(cache, attempt)
    labels = {
        **MANAGED_BY,
        CACHE_LABEL: cache["metadata"]["name"],
        KEY_LABEL: spec.key,
        ATTEMPT_LABEL: str(attempt),
    }
    of_ranks = spec.template.metadata
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": cache["metadata"]["namespace"],
            "labels": {**of_ranks.labels, **labels},  # where Kueue looks for its queue
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
                "metadata": {
                    "labels": {**rank_labels(of_ranks.labels), **labels},
                    "annotations": rank_annotations(spec.pod.annotations, of_ranks.annotations),
                },
                "spec": rank_pod(cache, spec, attempt, init),
            },
        },
    }


def rank_pod(cache: dict[str, Any], spec: KernelCacheSpec, attempt: int, init: InitContainer) -> dict[str, Any]:
    """The serving pod with another entry point, its tools, its settings, and no Kubernetes credentials.

    The tools' container has the administrator's resources and security context, and no environment: it only copies.
    """
    pod = pod_spec(
        spec.engine, spec.pod, spec.resources, spec.accelerator,
        command=["python3", "-B", TOOLS_DIRECTORY, "--", *command_line(spec)], extra_environment={},
    )  # fmt: skip
    engine = pod["containers"][0]
    engine["volumeMounts"] += [
        {"name": TOOLS_VOLUME, "mountPath": TOOLS_DIRECTORY, "readOnly": True},
        {"name": SETTINGS_VOLUME, "mountPath": SETTINGS_DIRECTORY, "readOnly": True},
        {"name": TEMPORARY_VOLUME, "mountPath": TEMPORARY_DIRECTORY},
    ]
    pod["volumes"] += [
        {"name": TOOLS_VOLUME, "emptyDir": {}},
        {"name": TEMPORARY_VOLUME, "emptyDir": {}},
        {"name": SETTINGS_VOLUME, "secret": {"secretName": settings_name(cache, attempt)}},
    ]
    pod["initContainers"] = [
        {
            **init_container("tunecast-tools", init, spec.pod.security_context),
            "args": ["tools", TOOLS_DIRECTORY],
            "volumeMounts": [{"name": TOOLS_VOLUME, "mountPath": TOOLS_DIRECTORY}],
        }
    ]
    return {
        **pod,
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "subdomain": cache["metadata"]["name"],
        "terminationGracePeriodSeconds": 30,
    }


def settings_secret(cache: dict[str, Any], attempt: int, settings: JobSettings) -> dict[str, Any]:
    """Presigned URLs are credentials, so they travel in a Secret."""
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
