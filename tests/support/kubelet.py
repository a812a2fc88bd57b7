"""Simulates the node of a control plane without nodes: runs the pods of tuning Jobs, and stages the ranks' results.

Everything else is real: the API server, the controllers, the S3 server, and every upload goes through a presigned URL.
"""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.request
from collections.abc import Collection
from typing import Any

from support.archives import entry, packed, plain
from support.objects import proof
from tunecast_core.bundle.archive import END
from tunecast_core.hardware import UNKNOWN
from tunecast_core.records.codec import canonical, decode
from tunecast_core.records.job import JobSettings, RankResult, archive_object, result_object
from tunecast_core.records.manifest import Archive, Proof, Provenance
from tunecast_core.records.seal import seal
from tunecast_operator.identity import CACHE_LABEL, DEPLOYMENT_LABEL
from tunecast_operator.plan.outcome import rank_of
from tunecast_operator.pods import engine_name
from tunecast_operator.resources.rank import SETTINGS_VOLUME
from tunecast_operator.runtime.cluster import JOB, NODE, POD, SECRET, Cluster

FILE = entry("vllm/torch_compile_cache/model", b"compiled")
BYTES = packed([FILE], plain(FILE, b"compiled") + END)
ARCHIVE = Archive("TorchCompile", hashlib.sha256(BYTES).hexdigest(), len(BYTES), FILE.size, 1)


class Kubelet:
    """Simulates one node. ``failure`` is the reason that rank 1 reports if ranks fail; ``proved`` is rank 0's proof."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self.failure: str | None = None
        self.proved: Proof = proof()
        self.archive, self.staged = ARCHIVE, BYTES  # the archives that rank 0 declares, and the bytes that it stages
        self.token: str | None = None  # the token that seals results, if not their attempt's
        self.hardware = UNKNOWN  # hardware of a rank whose Job requires none
        self.running_only = False
        self.ranks: Collection[int] | None = None  # ranks whose pods start; None for all
        self.serves = False  # if replicas become ready
        self.sidecars = False  # if each engine has an injected sidecar, which never ends

    def step(self) -> None:
        """Moves every pod of every Job to its next phase; a pod without its settings waits, as in a real cluster."""
        for job in self._cluster.list(JOB, self._namespace, CACHE_LABEL):
            settings = self._settings(job)
            if settings:
                for pod in self._cluster.list(POD, self._namespace, f"job-name={job['metadata']['name']}"):
                    if self.ranks is None or rank_of(pod) in self.ranks:
                        self._step(pod, settings)

        for pod in self._cluster.list(POD, self._namespace, DEPLOYMENT_LABEL) if self.serves else ():
            if pod["status"]["phase"] == "Pending":
                self._set_ready(pod)

    def _set_ready(self, pod: dict[str, Any]) -> None:
        statuses = [{**_container(c["name"], {"running": {}}), "ready": True} for c in pod["spec"]["containers"]]
        conditions = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "ContainersReady", "Ready")]
        status = {"phase": "Running", "containerStatuses": statuses, "conditions": conditions}
        self._cluster.update_status(POD, {**pod, "status": status})

    def _settings(self, job: dict[str, Any]) -> JobSettings | None:
        volumes = job["spec"]["template"]["spec"].get("volumes", ())
        names = (volume["secret"]["secretName"] for volume in volumes if volume["name"] == SETTINGS_VOLUME)
        name = next(names, "none")
        secret = self._cluster.get(SECRET, self._namespace, name)
        if secret is None:
            return None
        return decode(JobSettings, base64.b64decode(secret["data"]["job.json"]), name)

    def _step(self, pod: dict[str, Any], settings: JobSettings) -> None:
        phase, state = pod["status"]["phase"], _engine_state(pod)
        if phase == "Pending":
            self._set(pod, "Running", {"running": {}})
        elif phase == "Running" and "terminated" in state:
            self._set(pod, "Failed" if state["terminated"]["exitCode"] else "Succeeded", state)
        elif phase == "Running" and not self.running_only:
            self._end(pod, settings)

    def _end(self, pod: dict[str, Any], settings: JobSettings) -> None:
        """Reports terminated containers before the pod's last phase, as a real kubelet does."""
        rank = rank_of(pod)
        result = self._result(rank, settings.hardware or self.hardware)
        if rank == 0 and result.succeeded:
            _put(settings.uploads[archive_object(self.archive.layer)], self.staged)
        token = settings.token if self.token is None else self.token
        _put(settings.uploads[result_object(rank)], seal(token, result_object(rank), canonical(result)))
        code = 0 if result.succeeded else 1
        self._set(pod, "Running", {"terminated": {"exitCode": code, "reason": "x", "message": ""}})

    def _result(self, rank: int, hardware: str) -> RankResult:
        if self.failure:
            reason = self.failure if rank == 1 else "PeerLost"
            return RankResult(rank, succeeded=False, reason=reason, message="rank 1 failed on purpose", lost_rank=1)
        if rank:
            return RankResult(rank, succeeded=True, reason="Proved", message="")
        return RankResult(
            0, succeeded=True, reason="Proved", message="", archives=(self.archive,), proof=self.proved,
            provenance=Provenance("3.12.3", hardware=hardware),
        )  # fmt: skip

    def _set(self, pod: dict[str, Any], phase: str, state: dict[str, Any]) -> None:
        statuses = [_container(engine_name(pod), state)]
        if self.sidecars:
            phase, statuses = "Running", [*statuses, _container("istio-proxy", {"running": {}})]
        known = [c for c in pod["status"].get("conditions", ()) if c["status"] == "True"]
        conditions = known or [{"type": "PodScheduled", "status": "True"}]
        self._cluster.update_status(
            POD, {**pod, "status": {"phase": phase, "containerStatuses": statuses, "conditions": conditions}}
        )


def bind(cluster: Cluster, pod: dict[str, Any], node: str = "gpu-0", **labels: str) -> None:
    """Acts as the scheduler in a cluster where no node has room. ``labels`` are those of a simulated node."""
    metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
    described = {"name": node, "namespace": "", "labels": labels}
    cluster.create(NODE, {"apiVersion": "v1", "kind": "Node", "metadata": described})
    body = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": metadata["name"]},
        "target": {"kind": "Node", "name": node, "apiVersion": "v1"},
    }
    cluster._call("POST", POD, metadata["namespace"], metadata["name"], subresource="binding", body=body)


def _engine_state(pod: dict[str, Any]) -> dict[str, Any]:
    statuses = pod["status"].get("containerStatuses", ())
    return next((status["state"] for status in statuses if status["name"] == "engine"), {})


def _container(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "state": state, "ready": False, "image": "x", "imageID": "", "restartCount": 0}


def _put(url: str, data: bytes) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, data=data, method="PUT"), timeout=10):
        pass


def end_state(value: Any) -> Any:
    """Returns JSON without the identities, versions and times that differ between runs."""
    dropped = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "observedGeneration"}
    if isinstance(value, dict):
        return {
            k: end_state(v) for k, v in value.items() if k not in dropped and not k.endswith(("Time", "At", "Since"))
        }
    if isinstance(value, list):
        return [end_state(item) for item in value]
    return value


def as_text(value: Any) -> str:
    return json.dumps(end_state(value), sort_keys=True, indent=1)
