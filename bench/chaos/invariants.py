"""The invariants that a namespace must satisfy once the faults are over."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from chaos.user import User
from harness.kubectl import Object, condition
from tunecast_core.bundle import layout
from tunecast_core.bundle import pack as bundle
from tunecast_core.errors import MalformedError
from tunecast_core.key import MOUNT_PATH
from tunecast_core.records.codec import decode
from tunecast_core.records.manifest import Manifest
from tunecast_core.store.bucket import Store
from tunecast_core.store.s3 import connect
from tunecast_core.trust.settings import Trust
from tunecast_core.trust.signing import verify

SERVING, RANKS = "tunecast.io/inference-deployment", "tunecast.io/startup-cache"
LOGS = ("cache_key_factors.json", ".lock")
TRASH = ".tunecast-trash-"  # files of a cold engine, which were moved aside


def unsettled(user: User) -> Iterator[str]:
    """Describes what has not converged yet."""
    status, wanted = user.status(), user.spec["replicas"]
    if status.get("observedGeneration") != status["generation"]:
        yield "the newest spec is not observed yet"
    ready = condition({"status": status}, "Ready")
    if ready.get("status") != "True":
        yield f"Ready is {ready.get('status')}: {ready.get('reason')}: {ready.get('message')}"
    if status.get("cache") not in {"Hit", "Cold", "Failed"}:
        yield f"status.cache is {status.get('cache')}"
    if (status.get("rendered") or {}).get("key") != status.get("key"):
        yield "an old revision is served"
    pods = user.pods(SERVING)
    up = [pod for pod in pods if condition(pod, "Ready").get("status") == "True"]
    if (len(pods), len(up), status.get("readyReplicas")) != (wanted, wanted, wanted):
        counted = f"status.readyReplicas is {status.get('readyReplicas')}"
        yield f"{wanted} replicas are wanted, {len(pods)} are there, {len(up)} are ready, {counted}"
    for cache in user.items("startupcaches"):
        state = (cache.get("status") or {}).get("state")
        if (cache.get("status") or {}).get("referredBy") and state not in {"Ready", "Failed", "Ineffective"}:
            yield f"StartupCache {cache['metadata']['name']} is {state}"
    counted = sum(count["count"] for count in (status.get("initReports") or {}).get("counts", ()))
    if counted != wanted:  # a terminating replica's report counts until its pod is gone
        yield f"status counts {counted} reports, and {wanted} replicas are wanted"
    if _trusted(user) is None:
        yield "the trust ConfigMap is not restored"
    yield from left(user)


def left(user: User) -> Iterator[str]:
    """Describes objects that only an attempt needs and that outlived it."""
    unfinished = [j["metadata"]["name"] for j in user.items("jobs", RANKS) if not j["status"].get("conditions")]
    headless = [s["metadata"]["name"] for s in user.items("services") if s["spec"].get("clusterIP") == "None"]
    secrets = [s["metadata"]["name"] for s in user.items("secrets", "app.kubernetes.io/managed-by=tunecast")]
    with closing(connect(user.world.store)) as client:
        prefix = layout.staging_root("", user.namespace)
        staged = client.list_objects_v2(Bucket=user.world.store.bucket, Prefix=prefix).get("KeyCount", 0)
    for what, found in (("Jobs go on", unfinished), ("ranks' Services", headless), ("ranks' Secrets", secrets)):
        if found:
            yield f"{what}: {found}"
    if staged:
        yield f"{staged} staged objects are left"


def broken(user: User) -> Iterator[str]:
    """Describes broken promises."""
    status = user.status()
    caches = {cache["spec"]["key"]: cache for cache in user.items("startupcaches")}
    states = {key: (cache.get("status") or {}).get("state") for key, cache in caches.items()}
    pods = user.pods(SERVING)
    reports = [_report(pod) for pod in pods]
    warm = states.get(status["key"]) == "Ready" and any(report.get("result") == "Hit" for report in reports)
    if (status["cache"] == "Hit") != warm:  # replicas that started during the faults may all be cold
        reasons = [report.get("reason") for report in reports]
        yield f"status.cache is {status['cache']}, its StartupCache {states.get(status['key'])}, and replicas {reasons}"
    sets = user.items("replicasets")
    if len(sets) > user.revisions:
        yield f"{len(sets)} pod templates after {user.revisions} revisions by the user"
    manifests = dict(_manifests(user, _trusted(user) or {}))
    ready = {key for key, state in states.items() if state == "Ready"}
    yield from (f"{key} is Ready, and has no manifest" for key in ready - manifests.keys())
    for pod, report in zip(pods, reports, strict=True):
        if report.get("result") == "Hit":
            yield from _installed(user, pod, manifests[pod["metadata"]["labels"]["tunecast.io/key"]])
    yield from user.world.bugs()


def scaled_out(user: User) -> Iterator[str]:
    """Checks that a replica created after the faults starts warm if and only if its StartupCache is Ready."""
    status = user.status()
    newest = max(user.pods(SERVING), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    caches = user.items("startupcaches")
    ready = any(c["spec"]["key"] == status["key"] and c["status"].get("state") == "Ready" for c in caches)
    report = _report(newest)
    if ready != (report.get("result") == "Hit"):
        what = "is Ready" if ready else "isn't Ready"
        yield f"the StartupCache {what}, and a new replica reports {report.get('result')}: {report.get('reason')}"


def _report(pod: Object) -> Object:
    statuses = pod["status"].get("initContainerStatuses", ())
    ended = next((s["state"].get("terminated") for s in statuses if s["name"] == "tunecast-init"), None)
    try:
        found: Object = json.loads((ended or {}).get("message") or "{}")
    except ValueError:
        return {}
    return found


def _trusted(user: User) -> dict[str, str] | None:
    """Returns the public keys by signer, or None if init containers could not read them."""
    for found in user.items("configmaps", "app.kubernetes.io/managed-by=tunecast"):
        with suppress(MalformedError):
            return decode(Trust, found["data"]["trust.json"].encode(), "trust").keys
    return None


def _manifests(user: User, trusted: dict[str, str]) -> Iterator[tuple[str, Manifest]]:
    """Yields the manifests by key. An unsigned manifest, or a second one of a key, is an error."""
    settings, seen = user.world.store, set()
    root = layout.manifests_prefix("", user.namespace, "").rstrip("/") + "/"
    with closing(connect(settings)) as client:
        for item in client.list_objects_v2(Bucket=settings.bucket, Prefix=root).get("Contents", ()):
            data = client.get_object(Bucket=settings.bucket, Key=item["Key"])["Body"].read()
            manifest = decode(Manifest, verify(data, trusted)[0], item["Key"])
            if manifest.key in seen:
                raise AssertionError(f"two manifests of {manifest.key}")
            seen.add(manifest.key)
            yield manifest.key, manifest


def _installed(user: User, pod: Object, manifest: Manifest) -> Iterator[str]:
    """Checks that the pod's mount path holds exactly the files of the bundle's archives."""
    uid = pod["metadata"]["uid"]
    engines = [p for p in user.world.processes() if uid in p.cgroup and any("standin.py" in word for word in p.words)]
    if not engines:
        yield f"{pod['metadata']['name']} has no engine"
        return
    with tempfile.TemporaryDirectory() as name, closing(Store(user.world.store)) as store:
        folder, root = Path(name), Path(name, "root")
        root.mkdir()
        files = [(archive, folder / archive.layer) for archive in manifest.archives]
        store.download(user.namespace, files)
        bundle.install([(path, archive) for archive, path in files], root)
        wanted, found = _files(root), _files(Path(f"/proc/{engines[0].pid}/root{MOUNT_PATH}"))
    if wanted != found:
        differing = sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))
        yield f"{pod['metadata']['name']} reports Hit and has other files: {differing[:5]}"


def _files(root: Path) -> dict[str, bytes]:
    paths = (path for path in root.rglob("*") if path.is_file() and not path.name.endswith(LOGS))
    found = {str(path.relative_to(root)): path for path in paths}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(TRASH)}
