"""Something valid for each target to begin with."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

from fuzz.admission import around
from fuzz.archives import ROOT, fresh
from fuzz.targets import KEY, NAMESPACE, SIGNER, TRUST
from support.adopted import adopted_pod
from support.archives import forged
from support.objects import manifest, proof
from tunecast_core.bundle.archive import Entry, encode_index
from tunecast_core.records.codec import canonical
from tunecast_core.records.job import JobSettings, Progress, RankResult
from tunecast_core.records.report import InitReport
from tunecast_core.records.seal import seal
from tunecast_core.store.transport import Transport
from tunecast_core.trust.settings import StoreSettings, Trust
from tunecast_operator.resources.quarantine import Case, Failure
from tunecast_operator.resources.revision import Revision
from tunecast_operator.resources.trust import trust_config_map
from tunecast_operator.webhook.review import answer
from tunecast_tuner.engine.interpreter import Interpreter
from tunecast_tuner.flashinfer_ops.records import Report
from tunecast_tuner.peers.heartbeat import Ending
from tunecast_tuner.workloads.engine import Offer
from tunecast_tuner.workloads.exchange import Installed

PODS = Path(__file__).parents[1] / "data" / "pods"
PAIRS = {
    "container": "vllm", "credentials-secret": "hub", "entrypoint": "vllm serve 'a b'",
    "exclude-layers": "Triton,Torch", "generation": "2", "hardware-limit": "3", "ranks": "2", "tuning-policy": "Never",
}  # fmt: skip


def admission_pods() -> list[dict[str, Any]]:
    """Returns the pods of the compatibility table, and one that was injected before."""
    templates = [next(yaml.safe_load_all(path.read_text())) for path in sorted(PODS.glob("*.yaml"))]
    pod = adopted_pod()
    injected = answer({"request": {"uid": "review", "object": pod}}, around())
    changes = json.loads(base64.b64decode(injected.review["response"]["patch"]))
    return [pod, jsonpatch.apply_patch(pod, changes), *templates]


def adoption_settings() -> list[dict[str, dict[str, str]]]:
    """Returns each setting as an annotation, a namespace's default and a default of the chart."""
    return [
        {"annotations": {f"tunecast.io/{n}": v for n, v in PAIRS.items()}, "defaults": {}, "chart": {}},
        {"annotations": {"tunecast.io/entrypoint": '["vllm", "serve"]'}, "defaults": PAIRS, "chart": {}},
        {"annotations": {}, "defaults": {}, "chart": PAIRS},
    ]


def seeds() -> dict[str, list[bytes]]:
    """Something valid for each target to begin with."""
    whole = canonical(manifest(KEY))
    result = RankResult(0, succeeded=True, reason="Proved", message="", archives=manifest(KEY).archives, proof=proof())
    entries = [Entry("triton/a", 4, 1, executable=False), Entry("triton/b", 4, 2, executable=True)]
    path = fresh() / "archive"
    forged(path, entries)
    packed = path.read_bytes()
    shutil.rmtree(ROOT)
    tuned = {"_metadata": {"gpu": "H100"}, "('gemm', 'Runner', ((1, 2),), ())": ["Runner", 3]}
    transport = Transport("-----BEGIN CERTIFICATE-----", "http://proxy:3128")
    store = StoreSettings("bundles", "prefix", "http://s3:9000", "us-east-1", "Path", transport)
    settings = JobSettings(
        "job", KEY, 2, "host", 1, "Engine", "/m", 1.0, ("vllm", "serve", "m"), ("CUDA",), ("HF_TOKEN",),
        ({"prompt": [1]},), {"progress.json": "http://s3"}, ("/etc/hub",), 600.0, transport,
        wants_gpu=True, hardware="nvidia-l4-x86-64", token="token",
    )  # fmt: skip
    report = InitReport("Cold", "Quarantined", "words", KEY, "m" * 64, 5, {"total": 1.0}, ("Triton",))
    case = {"m" * 64: Case("words", (Failure(139),), (Failure(1, "e" * 16),))}
    banned = trust_config_map(NAMESPACE, Trust(store, TRUST.keys, ("m" * 64,)), case)["data"]
    rendered = Revision("spec", KEY, 1, "init:1", "Always", {"PYTHONPATH": "/m"}, held=False, port=8000)
    ended = {"engine": {"exitCode": 139, "message": "ValueError: no"}, "init": {"message": canonical(report).decode()}}
    command = ["sh", "-c", "export A=b; exec vllm serve $(MODEL) --port=8000 --max-model-len 8k -tp 2"]
    pods = admission_pods()
    return {
        "admission": [canonical(pod) for pod in pods],
        "admission-review": [
            canonical({"request": {"uid": "review", "namespace": "models", "object": pod}}) for pod in pods[:20]
        ],
        "admission-settings": [canonical(found) for found in adoption_settings()],
        "installed": [canonical(Installed({"Triton": "d" * 64}))],
        "ending": [canonical(Ending("PeerLost", "words", 1))],
        "interpreter": [canonical(Interpreter("3.12", "cpython-312", "00", ("/lib",), {"vllm": "0.26"}))],
        "operators": [canonical(Report({"gpu": "H100"}, entries=1, seconds={"import": 1.0}))],
        "store-settings": [canonical(store)],
        "sealed": [seal("token", "results/0.json", b"{}"), seal("token", "results/1.json", b"{}")],
        "config-map": [canonical(banned)],
        "revision": [rendered.to_text().encode()],
        "pods": [canonical({**ended, "cold": why}) for why in ("NoManifest", "Quarantined")],
        "command-line": [canonical(command), canonical(["python3", "-m", "vllm.entrypoints.openai.api_server"])],
        "secret": [b"hf_0123456789abcdefAB\n", canonical({"private_key": "a\nb"}), b"-----BEGIN CERTIFICATE-----"],
        "sweep": [b'{"prompt": [1], "max_tokens": 1}\n\n{}'],
        "log": [b"(EngineCore pid=1) ERROR 11-23 [core.py:1] ValueError: no\nINFO Loading weights took 1.50 seconds"],
        "manifest": [whole],
        "report": [canonical(report)],
        "result": [canonical(result)],
        "settings": [canonical(settings)],
        "progress": [canonical(Progress("Upload", 1.0, 5))],
        "trust": [canonical(Trust(store, TRUST.keys, ("d" * 64,), 30.0, SIGNER.signer))],
        "offer": [canonical(Offer(manifest(KEY).archives, {}, (), 0, ((), ()), {"A": "b"}))],
        "rank-proof": [canonical(proof().ranks[0])],
        "envelope": [SIGNER.sign(whole), base64.b64encode(whole)],
        "signed-manifest": [whole],
        "staged": [canonical(result)],
        "tactics": [json.dumps(tuned).encode()],
        "archive": [packed, encode_index(entries, [10]), packed[: len(packed) // 2]],
        "layout": [bytes(range(64)), b"\x01" * 40],
    }
