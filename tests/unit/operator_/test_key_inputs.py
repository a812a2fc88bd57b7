"""Changes that start a new tuning and changes that do not; each entry of the lists has a reason."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from support.objects import ENGINE, inference_deployment, key_in, pod_template
from tunecast_operator.key_inputs import COSMETIC_FLAGS, COSMETIC_VARIABLES, PER_POD_VARIABLES

FLAGS = {
    "how the HTTP server listens, and who may call it": [
        "--host", "--port", "--root-path", "--api-key", "--allow-credentials", "--allowed-headers", "--allowed-methods",
        "--allowed-origins", "--ssl-ca-certs", "--ssl-cert-reqs", "--ssl-certfile", "--ssl-ciphers", "--ssl-keyfile",
        "--enable-ssl-refresh", "--enable-request-id-headers", "--disable-fastapi-docs",
        "--enable-server-load-tracking", "--shutdown-timeout", "--sse-keep-alive-interval", "--enable-offline-docs",
        "--enable-tokenizer-info-endpoint", "--h11-max-header-count", "--h11-max-incomplete-event-size",
        "--allowed-local-media-path", "--allowed-media-domains",
    ],
    "what is logged and measured": [
        "--uvicorn-log-level", "--log-level", "--log-config-file", "--log-error-stack", "--max-log-len",
        "--disable-uvicorn-access-log", "--disable-access-log-for-endpoints", "--disable-log-requests",
        "--enable-log-requests", "--disable-log-stats", "--enable-log-deltas", "--enable-log-outputs",
        "--otlp-traces-endpoint", "--collect-detailed-traces", "--show-hidden-metrics-for-version",
        "--aggregate-engine-logging", "--enable-logging-iteration-details", "--enable-per-request-metrics",
        "--kv-cache-metrics", "--kv-cache-metrics-sample", "--custom-histogram-buckets", "--enable-mfu-metrics",
        "--cudagraph-metrics",
    ],
    "how requests and answers are written as text, before and after the model": [
        "--served-model-name", "--response-role", "--chat-template", "--chat-template-content-format",
        "--default-chat-template-kwargs", "--enable-auto-tool-choice", "--tool-call-parser", "--tool-server",
        "--reasoning-parser", "--enable-prompt-tokens-details", "--enable-force-include-usage",
        "--return-tokens-as-token-ids", "--exclude-tools-when-tool-choice-none", "--trust-request-chat-template",
        "--fingerprint-mode", "--fingerprint-value",
    ],
    "how weights are fetched": ["--hf-token"],
}  # fmt: skip
VARIABLES = {
    "what is logged and measured": [
        "DO_NOT_TRACK", "VLLM_DO_NOT_TRACK", "NCCL_DEBUG*", "OTEL_*", "VLLM_LOGGING_*", "VLLM_LOG_STATS_INTERVAL",
        "VLLM_NO_USAGE_STATS", "VLLM_USAGE_STATS_SERVER", "VLLM_DEBUG_LOG_API_SERVER_RESPONSE", "PYTHONUNBUFFERED",
        "VLLM_RINGBUFFER_WARNING_INTERVAL",
    ],
    "how dates and words are shown": ["LANG", "LC_*", "TERM", "TZ", "NO_COLOR", "FORCE_COLOR"],
    "how weights are fetched": [
        "HF_HUB_DISABLE_*", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ENABLE_HF_TRANSFER", "HF_HUB_ETAG_TIMEOUT", "HF_XET_*",
        "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    ],
    "what else the HTTP server offers, and how long anybody waits for an answer": [
        "VLLM_AUDIO_FETCH_TIMEOUT", "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "VLLM_HTTP_TIMEOUT_KEEP_ALIVE",
        "VLLM_IMAGE_FETCH_TIMEOUT", "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH", "VLLM_SERVER_DEV_MODE",
        "VLLM_VIDEO_FETCH_TIMEOUT",
    ],
    "how many files are compiled at once": ["MAX_JOBS"],
}  # fmt: skip
PER_POD = {
    "where others find one pod": [
        "VLLM_DP_MASTER_IP", "VLLM_DP_MASTER_PORT", "VLLM_HOST_IP", "VLLM_NIXL_SIDE_CHANNEL_HOST", "VLLM_PORT",
    ],
    "which group a pod is in": ["LWS_GROUP_SIZE", "LWS_LEADER_ADDRESS", "LWS_WORKER_INDEX"],
}  # fmt: skip
VOLUMES = [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
MOUNTS = [{"name": "models", "mountPath": "/models"}]
SERVE = "vllm serve Qwen/Qwen3-8B --max-model-len 8k --dtype bfloat16"
SPELT = "exec  vllm serve  --dtype 'bfloat16' \\\n --max_model_len=8000 Qwen/Qwen3-8B"
BASE = pod_template(
    "--max-model-len=8k",
    "--dtype=bfloat16",
    metadata={"labels": {"app": "a"}},
    pod={"volumes": VOLUMES, "nodeSelector": {"pool": "a"}},
    env=[{"name": "VLLM_USE_V1", "value": "1"}],
    resources={"limits": {"nvidia.com/gpu": 1, "memory": "10Gi"}, "requests": {"cpu": "4"}},
    volumeMounts=MOUNTS,
)


def key(template: dict[str, Any], **spec: Any) -> str:
    return key_in(inference_deployment(template=template, **spec))


def changed(change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> dict[str, Any]:
    """Returns the template after a change to its pod spec and its container."""
    template = copy.deepcopy(BASE)
    change(template["spec"], template["spec"]["containers"][0])
    return template


def shell(script: str) -> dict[str, Any]:
    return changed(lambda _, c: c.update(command=["sh", "-c", script], args=[]))


def with_args(*args: str) -> dict[str, Any]:
    return changed(lambda _, c: c["args"].extend(args))


def with_env(*entries: dict[str, Any]) -> dict[str, Any]:
    return changed(lambda _, c: c["env"].extend(entries))


def entries(reasons: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(reason, entry) for reason, listed in reasons.items() for entry in listed]


@pytest.mark.parametrize(("reason", "flag"), entries(FLAGS))
def test_a_cosmetic_flag_tunes_nothing(reason: str, flag: str) -> None:
    value = {"--port": "9000", "--ssl-cert-reqs": "0"}.get(flag, "x")
    assert key(with_args(f"{flag}={value}")) == key(BASE), reason


@pytest.mark.parametrize(("reason", "pattern"), entries({**VARIABLES, **PER_POD}))
def test_a_cosmetic_variable_tunes_nothing(reason: str, pattern: str) -> None:
    name = pattern.replace("*", "X")
    assert key(with_env({"name": name, "value": "x"})) == key(BASE), reason


def test_every_entry_of_the_lists_has_a_reason() -> None:
    assert sorted(entry for _, entry in entries(FLAGS)) == sorted(COSMETIC_FLAGS)
    assert sorted(entry for _, entry in entries(VARIABLES)) == sorted(COSMETIC_VARIABLES)
    assert sorted(entry for _, entry in entries(PER_POD)) == sorted(PER_POD_VARIABLES)


def init(image: str, **more: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    fetch = {"name": "fetch", "image": image, "volumeMounts": MOUNTS, **more}
    return lambda pod, _: pod.update(initContainers=[fetch])


def mounted(**volume: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    def change(pod: dict[str, Any], container: dict[str, Any]) -> None:
        pod["volumes"].append({"name": "more", **volume})
        container["volumeMounts"].append({"name": "more", "mountPath": "/more"})

    return change


FIELD = {"fieldRef": {"fieldPath": "status.podIP"}}
SAME: dict[str, dict[str, Any]] = {
    "order, spaces, quotes, underscores and units are spelling": shell(SPELT),
    "exec and a shell start the same engine": shell(SERVE),
    "a Secret's name does not affect an engine": with_env(
        {"name": "TZ", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
    ),
    "a fieldRef is a fact of one pod": with_env({"name": "POD_IP", "valueFrom": FIELD}),
    "a variable that locates a layer is replaced": with_env({"name": "VLLM_CACHE_ROOT", "value": "/x"}),
    "labels and annotations belong to others": BASE | {"metadata": {"labels": {"app": "b"}, "annotations": {"c": "d"}}},
    "probes": changed(lambda _, c: c.update(livenessProbe={"httpGet": {"path": "/", "port": 1}})),
    "other containers": changed(lambda p, _: p["containers"].append({"name": "b", "image": "b"})),
    "sidecars": changed(init("b", restartPolicy="Always")),
    "CPU and memory": changed(lambda _, c: c["resources"]["limits"].update(memory="20Gi", cpu="8")),
    "placement": changed(lambda p, _: p.update(nodeSelector={"pool": "b"}, tolerations=[{"operator": "Exists"}])),
    "scratch space": changed(mounted(emptyDir={})),
    "/dev/shm's size": changed(mounted(emptyDir={"medium": "Memory", "sizeLimit": "1Gi"})),
    "files of Secrets": changed(mounted(secret={"secretName": "tls"})),
    "an init container that only reads": changed(
        init("b", volumeMounts=[{"name": "models", "mountPath": "/m", "readOnly": True}])
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", SAME)
def test_what_tunes_nothing(why: str) -> None:
    settings = {"container": ENGINE}
    assert key(SAME[why], engine=settings, replicas=7) == key(BASE), why


SECRET = {"secretKeyRef": {"name": "a", "key": "b"}}
ANOTHER: dict[str, dict[str, Any]] = {
    "image": changed(lambda _, c: c.update(image="vllm:v2")),
    "model": changed(lambda _, c: c.update(command=["vllm", "serve", "Qwen/Qwen3-4B"])),
    "dtype": with_args("--dtype=float16"),
    "quantisation": with_args("-q=fp8"),
    "parallel size": changed(
        lambda _, c: (c["args"].append("-tp=2"), c["resources"]["limits"].update({"nvidia.com/gpu": 2}))
    ),
    "a compile flag": with_args("-O2"),
    "a part of the compilation config": with_args("-cc.cudagraph_mode=FULL"),
    "speculative tokens": with_args('--speculative-config={"method": "ngram", "num_speculative_tokens": 3}'),
    "other speculative tokens": with_args('--speculative-config={"method": "ngram", "num_speculative_tokens": 4}'),
    "speculative tokens, dotted": with_args("-sc.num_speculative_tokens=5", "-sc.method=ngram"),
    "speculative tokens of older versions": with_args("--num-speculative-tokens=3"),
    "other speculative tokens of older versions": with_args("--num-speculative-tokens=4"),
    "an unknown flag": with_args("--a-new-flag=1"),
    "another program": changed(lambda _, c: c.update(command=["/a/vllm", "serve", "Qwen/Qwen3-8B"])),
    "a script's earlier command": shell(f"pip install x; {SERVE}"),
    "a variable that a script sets": shell(f"A=1 {SERVE}"),
    "a variable": with_env({"name": "VLLM_ATTENTION_BACKEND", "value": "FLASHINFER"}),
    "another value": with_env({"name": "VLLM_ATTENTION_BACKEND", "value": "FLASH_ATTN"}),
    "a variable about logs that vLLM hashes": with_env({"name": "VLLM_CONFIGURE_LOGGING", "value": "0"}),
    "a port that vLLM hashes": with_env({"name": "VLLM_NIXL_SIDE_CHANNEL_PORT", "value": "5600"}),
    "a variable of a ConfigMap": with_env({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}),
    "a variable that is secret": with_env({"name": "A", "valueFrom": SECRET}),
    "variables of a ConfigMap": changed(lambda _, c: c.update(envFrom=[{"configMapRef": {"name": "a"}}])),
    "variables of a Secret": changed(lambda _, c: c.update(envFrom=[{"secretRef": {"name": "a"}}])),
    "GPUs": changed(lambda _, c: c["resources"]["limits"].update({"nvidia.com/gpu": 2})),
    "which GPU": changed(lambda p, _: p.update(nodeSelector={"cloud.google.com/gke-accelerator": "nvidia-l4"})),
    "another GPU": changed(lambda p, _: p.update(nodeSelector={"cloud.google.com/gke-accelerator": "nvidia-h100"})),
    "a claim": changed(
        lambda p, c: (
            p.update(resourceClaims=[{"name": "g", "resourceClaimTemplateName": "one"}]),
            c["resources"].update(claims=[{"name": "g"}]),
        )
    ),
    "another claim": changed(
        lambda p, c: (
            p.update(resourceClaims=[{"name": "g", "resourceClaimTemplateName": "eight"}]),
            c["resources"].update(claims=[{"name": "g"}]),
        )
    ),
    "a volume": changed(mounted(hostPath={"path": "/models"})),
    "a ConfigMap's files": changed(mounted(configMap={"name": "config"})),
    "a volume's mount path": changed(lambda _, c: c["volumeMounts"][0].update(mountPath="/elsewhere")),
    "an init container that fetches weights": changed(init("fetch:1")),
    "an argument of that init container": changed(init("fetch:1", args=["--revision=2"])),
    "a ConfigMap of that init container": changed(init("fetch:1", envFrom=[{"configMapRef": {"name": "other"}}])),
    "a volume mount of that init container": changed(init("fetch:1", volumeMounts=[{**MOUNTS[0], "subPath": "b"}])),
    "runtime class": changed(lambda p, _: p.update(runtimeClassName="kata")),
}  # fmt: skip


def test_what_tunes_again() -> None:
    keys = {why: key(template) for why, template in ANOTHER.items()} | {"as it was": key(BASE)}
    keys |= {
        "generation": key(BASE, tuning={"generation": 2}),
        "workload": key(BASE, tuning={"workload": "Operators"}),
        "layers": key(BASE, cache={"layers": {"exclude": ["Triton"]}}),
    }
    shared = [(a, b) for a in keys for b in keys if a < b and keys[a] == keys[b]]
    assert shared == []


def test_the_value_of_a_secret_is_in_no_key() -> None:
    named, other = (with_env({"name": "MY_TOKEN", "value": value}) for value in ("a", "b"))
    assert key(named) == key(other) != key(BASE)
    urls = [with_env({"name": "STORE", "value": f"redis://user:{password}@host"}) for password in ("a", "b")]
    assert key(urls[0]) == key(urls[1])


def test_which_gpu_is_read_from_node_affinity_too() -> None:
    def on(gpu: str) -> str:
        terms = [{"matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": [gpu]}]}]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        return key(changed(lambda p, _: p.update(affinity={"nodeAffinity": required})))

    assert len({on("NVIDIA-L4"), on("NVIDIA-H100"), key(BASE)}) == 3
