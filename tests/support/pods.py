"""Builds the pod templates of a spec with the real builders."""

from __future__ import annotations

from typing import Any

from support.objects import engine_in, inference_deployment, key_in, snapshot_of, spec_of
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.engine import engine_of
from tunecast_operator.resources.deployment import deployment
from tunecast_operator.resources.init_container import ContainerSettings
from tunecast_operator.resources.job import job
from tunecast_operator.resources.revision import Revision

CACHE = {
    "apiVersion": "tunecast.io/v1alpha2",
    "kind": "StartupCache",
    "metadata": {"name": "qwen3-8b-0123456789", "namespace": "models", "uid": "kc-uid"},
}


def pods(settings: ContainerSettings | None = None, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the pod templates of a replica and of a rank; ``settings`` are the administrator's."""
    owner = inference_deployment(**spec)
    init = settings or ContainerSettings()
    revision = Revision(
        "digest", key_in(owner), 1, "init:1", "IfNotPresent", {}, held=False, port=8000, init_container=init
    )
    serving = deployment(owner, spec_of(owner), engine_in(owner), revision, 1)["spec"]["template"]
    snapshot = StartupCacheSpec.model_validate(snapshot_of(owner))
    return serving, job(CACHE, snapshot, engine_of(snapshot.template, snapshot.engine), 1, revision.init)["spec"][
        "template"
    ]
