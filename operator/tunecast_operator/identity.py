"""Labels, annotations and digests: how Tunecast's objects are told apart."""

from __future__ import annotations

import hashlib
from typing import Any

from tunecast_core.key import compute_key
from tunecast_core.records.codec import canonical
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.engine import Engine
from tunecast_operator.key_inputs import key_inputs

MANAGED_BY = {"app.kubernetes.io/managed-by": "tunecast"}  # of objects that are ours; pods keep their users' own
DEPLOYMENT_LABEL = "tunecast.io/inference-deployment"  # serving pods and what belongs to them
CACHE_LABEL = "tunecast.io/startup-cache"  # ranks and what belongs to them
KEY_LABEL = "tunecast.io/key"  # of replicas and ranks: the operator watches pods by it
ATTEMPT_LABEL = "tunecast.io/attempt"
REVISION_ANNOTATION = "tunecast.io/revision"
CONTAINER_ANNOTATION = "tunecast.io/container"  # of replicas and ranks: which container runs the engine


def digest(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def key_of(spec: InferenceDeploymentSpec, engine: Engine, version: int) -> str:
    """The key of a spec, as key version ``version`` computes it."""
    return compute_key(key_inputs(spec, engine), version)


def template_digest(spec: InferenceDeploymentSpec) -> str:
    """Of all that a pod template is rendered from; without defaults, so that a new field changes no digest."""
    value = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"replicas", "tuning"})
    return digest({**value, "workload": spec.tuning.workload, "generation": spec.tuning.generation})
