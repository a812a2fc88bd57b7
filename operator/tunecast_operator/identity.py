"""Labels, annotations and digests by which Tunecast identifies its objects."""

from __future__ import annotations

import hashlib
from typing import Any

from tunecast_core.key import compute_key
from tunecast_core.records.codec import canonical
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.engine import Engine
from tunecast_operator.key_inputs import key_inputs

MANAGED_BY = {"app.kubernetes.io/managed-by": "tunecast"}  # on every object that Tunecast creates except pods
DEPLOYMENT_LABEL = "tunecast.io/inference-deployment"  # on serving pods and their Deployment and Service
CACHE_LABEL = "tunecast.io/startup-cache"  # on ranks and their Job, Secret and Service
KEY_LABEL = "tunecast.io/key"  # on replicas and ranks; the operator watches pods with it
ATTEMPT_LABEL = "tunecast.io/attempt"
REVISION_ANNOTATION = "tunecast.io/revision"
CONTAINER_ANNOTATION = "tunecast.io/container"  # on replicas and ranks: name of the engine's container


def digest(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def key_of(spec: InferenceDeploymentSpec, engine: Engine, version: int) -> str:
    """Returns the key of a spec, computed by the rules of key version ``version``."""
    return compute_key(key_inputs(spec, engine), version)


def template_digest(spec: InferenceDeploymentSpec) -> str:
    """Returns a digest of all inputs of the pod template. Defaults are left out, so that new fields don't change it."""
    value = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"replicas", "tuning"})
    return digest({**value, "workload": spec.tuning.workload, "generation": spec.tuning.generation})
