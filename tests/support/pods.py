"""The pod templates that the builders make of a spec."""

from __future__ import annotations

from typing import Any

from support.objects import inference_deployment, spec_of
from tunecast_operator.api.kernel_cache import KernelCacheSpec
from tunecast_operator.identity import cache_spec, key_of
from tunecast_operator.resources.deployment import Revision, deployment
from tunecast_operator.resources.init_container import ContainerSettings
from tunecast_operator.resources.job import job

CACHE = {
    "apiVersion": "tunecast.io/v1alpha1",
    "kind": "KernelCache",
    "metadata": {"name": "qwen3-8b-0123456789", "namespace": "models", "uid": "kc-uid"},
}


def pods(settings: ContainerSettings | None = None, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod template of a replica and that of a rank; ``settings`` are the administrator's."""
    owner = inference_deployment(**spec)
    key = key_of(spec_of(owner), 1)
    init = settings or ContainerSettings()
    revision = Revision("digest", key, 1, "init:1", "IfNotPresent", {}, held=False, init_container=init)
    serving = deployment(owner, spec_of(owner), revision, 1)["spec"]["template"]
    snapshot = KernelCacheSpec.model_validate(cache_spec(spec_of(owner), key, 1))
    return serving, job(CACHE, snapshot, 1, revision.init)["spec"]["template"]
