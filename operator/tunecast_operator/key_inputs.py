"""Extracts everything from a spec that decides whether a bundle fits a replica, and nothing else. Pure.

An input that no compiled file depends on would start needless tunings. A missing input would share a bundle between
engines that need different ones. Each entry of the lists has a test that shows why it is there.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunecast_core.bundle.layers import RESERVED_VARIABLES
from tunecast_core.trust.secret_names import holds_password, names_secret
from tunecast_operator.api.inference_deployment import InferenceDeploymentSpec
from tunecast_operator.engine import Engine, accelerators, claims

Object = Mapping[str, Any]
COSMETIC_FLAGS = frozenset({
    "--aggregate-engine-logging", "--allow-credentials", "--allowed-headers", "--allowed-local-media-path",
    "--allowed-media-domains", "--allowed-methods", "--allowed-origins", "--api-key", "--chat-template",
    "--chat-template-content-format", "--collect-detailed-traces", "--cudagraph-metrics", "--custom-histogram-buckets",
    "--default-chat-template-kwargs", "--disable-access-log-for-endpoints", "--disable-fastapi-docs",
    "--disable-log-requests", "--disable-log-stats", "--disable-uvicorn-access-log", "--enable-auto-tool-choice",
    "--enable-force-include-usage", "--enable-log-deltas", "--enable-log-outputs", "--enable-log-requests",
    "--enable-logging-iteration-details", "--enable-mfu-metrics", "--enable-offline-docs",
    "--enable-per-request-metrics", "--enable-prompt-tokens-details", "--enable-request-id-headers",
    "--enable-server-load-tracking", "--enable-ssl-refresh", "--enable-tokenizer-info-endpoint",
    "--exclude-tools-when-tool-choice-none", "--fingerprint-mode", "--fingerprint-value", "--h11-max-header-count",
    "--h11-max-incomplete-event-size", "--hf-token", "--host", "--kv-cache-metrics", "--kv-cache-metrics-sample",
    "--log-config-file", "--log-error-stack", "--log-level", "--max-log-len", "--otlp-traces-endpoint",
    "--port", "--reasoning-parser", "--response-role",
    "--return-tokens-as-token-ids", "--root-path", "--served-model-name", "--show-hidden-metrics-for-version",
    "--shutdown-timeout", "--sse-keep-alive-interval", "--ssl-ca-certs", "--ssl-cert-reqs", "--ssl-certfile",
    "--ssl-ciphers", "--ssl-keyfile", "--tool-call-parser", "--tool-server", "--trust-request-chat-template",
    "--uvicorn-log-level",
})  # fmt: skip
# Patterns of names. vLLM's compiled files depend on none of these variables, but on all others that vLLM knows.
COSMETIC_VARIABLES = (
    "DO_NOT_TRACK", "FORCE_COLOR", "HF_HUB_DISABLE_*", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ENABLE_HF_TRANSFER",
    "HF_HUB_ETAG_TIMEOUT", "HF_TOKEN", "HF_XET_*", "HUGGING_FACE_HUB_TOKEN", "LANG", "LC_*", "MAX_JOBS", "NCCL_DEBUG*",
    "NO_COLOR", "OTEL_*", "PYTHONUNBUFFERED", "TERM", "TZ", "VLLM_AUDIO_FETCH_TIMEOUT",
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE", "VLLM_DO_NOT_TRACK", "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "VLLM_IMAGE_FETCH_TIMEOUT", "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH",
    "VLLM_LOG_STATS_INTERVAL", "VLLM_LOGGING_*", "VLLM_NO_USAGE_STATS", "VLLM_RINGBUFFER_WARNING_INTERVAL",
    "VLLM_SERVER_DEV_MODE", "VLLM_USAGE_STATS_SERVER", "VLLM_VIDEO_FETCH_TIMEOUT", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
# Addresses and ports of one pod, and its place in a LeaderWorkerSet.
PER_POD_VARIABLES = (
    "LWS_GROUP_SIZE", "LWS_LEADER_ADDRESS", "LWS_WORKER_INDEX", "VLLM_DP_MASTER_IP", "VLLM_DP_MASTER_PORT",
    "VLLM_HOST_IP", "VLLM_NIXL_SIDE_CHANNEL_HOST", "VLLM_PORT",
)  # fmt: skip
# Volumes without files that compilation depends on: scratch space, facts of the pod, secrets.
_IGNORED_VOLUMES = ("emptyDir", "secret", "downwardAPI", "ephemeral")
_IGNORED_SOURCES = ("secret", "downwardAPI", "serviceAccountToken", "podCertificate", "clusterTrustBundle")
_MODES = ("defaultMode", "mode", "pullPolicy")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kmgtKMGT])")
_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_GPU_LABEL = re.compile(r"gpu|accelerator", re.IGNORECASE)


def key_inputs(spec: InferenceDeploymentSpec, engine: Engine) -> dict[str, Any]:
    """Returns the inputs of the key by name."""
    pod = spec.template["spec"]
    return {
        "image": engine.container.get("image"),
        "launcher": engine.line.launcher,
        "model": engine.line.model,
        "options": options(engine),
        "preparation": engine.line.preparation,
        "environment": environment(engine),
        "environmentFrom": list(_environment_from(engine.container)),
        "devices": accelerators(engine.container),
        "claims": _claims(pod, engine.container),
        "gpuSelectors": _gpu_selectors(pod),
        "volumes": _volumes(pod, engine.container),
        "initContainers": _init_containers(pod, engine.container),
        "runtimeClassName": pod.get("runtimeClassName"),
        "workload": spec.tuning.workload,
        "generation": spec.tuning.generation,
        "excludedLayers": sorted(spec.cache.layers.exclude),
    }


def options(engine: Engine) -> dict[str, list[str]]:
    """Returns flags in a canonical spelling, whatever their order, prefixes and notation of numbers and JSON."""
    found = engine.line.options
    return {f: [_canonical(v) for v in found[f]] for f in sorted(found) if f not in COSMETIC_FLAGS and f != "--model"}


def _canonical(value: str) -> str:
    if number := _NUMBER.fullmatch(value):
        return str(int(float(number[1]) * _UNITS[number[2]]))
    if value.lstrip().startswith(("{", "[")):
        try:
            return json.dumps(json.loads(value), sort_keys=True, separators=(",", ":"))
        except ValueError:
            return value
    return value


def environment(engine: Engine) -> dict[str, Any]:
    """Returns variables by name: a literal value, a reference to a ConfigMap, or null for a secret."""
    assigned = [{"name": name, "value": value} for name, value in engine.line.assigned.items()]
    found = {v["name"]: v for v in [*engine.env, *assigned] if counts(v)}
    return {name: _value(variable) for name, variable in sorted(found.items())}


def counts(variable: Object) -> bool:
    """Whether an engine's compiled files may depend on a variable; a fieldRef is a fact of one pod."""
    name, source = str(variable["name"]), variable.get("valueFrom") or {}
    if name in RESERVED_VARIABLES or {"fieldRef", "resourceFieldRef"} & source.keys():
        return False
    return not any(fnmatch.fnmatchcase(name, pattern) for pattern in (*COSMETIC_VARIABLES, *PER_POD_VARIABLES))


def _value(variable: Object) -> Any:
    source = variable.get("valueFrom") or {}
    value = str(variable.get("value", ""))
    if "secretKeyRef" in source or names_secret(variable["name"]) or holds_password(value):
        return None
    return source or value


def _environment_from(container: Object) -> Iterator[Object]:
    """Yields ConfigMaps by name, since the operator doesn't read them. Names of Secrets don't matter."""
    for source in container.get("envFrom") or ():
        prefix = {"prefix": source["prefix"]} if source.get("prefix") else {}
        if "configMapRef" in source:
            yield {"configMap": source["configMapRef"].get("name"), **prefix}
        else:
            yield {"secret": True, **prefix}


def _claims(pod: Object, container: Object) -> list[Object]:
    """Returns the sources of the container's resource claims, without the names that the pod gives them."""
    names = {claim["name"]: claim for claim in pod.get("resourceClaims") or ()}
    found = []
    for claim in claims(container):
        source = {name: value for name, value in names.get(claim["name"], {}).items() if name != "name"}
        found.append({**source, **({"request": claim["request"]} if claim.get("request") else {})})
    return sorted(found, key=json.dumps)


def _gpu_selectors(pod: Object) -> dict[str, list[str]]:
    """Returns the node labels by which the pod selects a GPU."""
    found: dict[str, set[str]] = {n: {v} for n, v in (pod.get("nodeSelector") or {}).items() if _GPU_LABEL.search(n)}
    required = ((pod.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in required.get("nodeSelectorTerms") or ():
        for expression in term.get("matchExpressions") or ():
            if _GPU_LABEL.search(expression["key"]):
                words = (f"{expression['operator']} {value}" for value in expression.get("values") or ("",))
                found.setdefault(expression["key"], set()).update(words)
    return {name: sorted(values) for name, values in sorted(found.items())}


def _volumes(pod: Object, container: Object) -> list[Object]:
    """Returns volumes whose files the engine may read, such as a model, with their mount paths."""
    volumes = {volume["name"]: volume for volume in pod.get("volumes") or ()}
    found = []
    for mount in container.get("volumeMounts") or ():
        source = _source(volumes.get(mount["name"], {}))
        if source:
            where = {name: value for name, value in mount.items() if name in {"mountPath", "subPath", "subPathExpr"}}
            found.append({**where, "source": source})
    return sorted(found, key=lambda volume: str(volume["mountPath"]))


def _source(volume: Object) -> Object:
    named = {name: value for name, value in volume.items() if name not in ("name", *_IGNORED_VOLUMES) and value}
    source = {name: _without_modes(value) for name, value in named.items()}
    if "projected" in source:
        parts = [part for part in source["projected"].get("sources") or () if not set(_IGNORED_SOURCES) & part.keys()]
        return {"projected": parts} if parts else {}
    return source


def _without_modes(value: Any) -> Any:
    """A volume's source without what only says how its files may be opened, and without what is empty.

    The API server sets these in a pod, and not in an InferenceDeployment.
    """
    if isinstance(value, list):
        return [_without_modes(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {n: _without_modes(v) for n, v in value.items() if n not in _MODES and v not in ("", None)}


def _init_containers(pod: Object, container: Object) -> list[Object]:
    """Returns ordinary init containers that can write to a volume of the engine, since they may fetch its model."""
    mounted = {mount["name"] for mount in container.get("volumeMounts") or ()}
    return [
        {
            "image": init.get("image"),
            "command": init.get("command") or [],
            "args": init.get("args") or [],
            "environment": {v["name"]: _value(v) for v in sorted(init.get("env") or (), key=_name) if counts(v)},
            "environmentFrom": list(_environment_from(init)),
            "writes": sorted(
                f"{m['mountPath']} {m.get('subPath', '')}" for m in _writable(init) if m["name"] in mounted
            ),
        }
        for init in pod.get("initContainers") or ()
        if init.get("restartPolicy") != "Always" and mounted & {m["name"] for m in _writable(init)}
    ]


def _writable(init: Object) -> Sequence[Object]:
    return [mount for mount in init.get("volumeMounts") or () if not mount.get("readOnly")]


def _name(variable: Object) -> str:
    return str(variable["name"])
