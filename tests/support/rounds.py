"""Seeded rounds of faults on a real API server and a real S3 server, and the invariants after each of them.

In a round, the user of a namespace applies, changes and deletes InferenceDeployments. Meanwhile requests to S3 and the
API server meet faults, ranks fail, staged objects are altered, and the operator is killed after some of its writes and
restarts with a wrong clock. Then the faults stop, and the round must converge. The same seed makes the same choices;
only the timing of Kubernetes' controllers differs.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient

from support.driver import CountedCluster, CountedStore, Driver, Killed, Writes
from support.faulty_s3 import Fault, FaultyS3, healthy
from support.objects import inference_deployment, pod_template
from tunecast_core.bundle import layout
from tunecast_core.bundle import pack as bundle
from tunecast_core.errors import TunecastError
from tunecast_core.hardware import Hardware
from tunecast_core.records.codec import decode
from tunecast_core.records.manifest import Manifest
from tunecast_core.store.s3 import connect as connect_s3
from tunecast_core.trust.settings import StoreSettings, Trust
from tunecast_core.trust.signing import Signer, verify
from tunecast_init.fetch import Phases, fetch
from tunecast_init.settings import Settings
from tunecast_operator.identity import CACHE_LABEL, MANAGED_BY
from tunecast_operator.plan.outcome import finished
from tunecast_operator.plan.slots import SlotLimits
from tunecast_operator.runtime.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    INFERENCE_DEPLOYMENT,
    JOB,
    POD,
    SECRET,
    SERVICE,
    ClusterError,
    Kind,
    Object,
)

STEPS = 14  # with faults
CONVERGE_SECONDS = 90.0
NAMES = ("a", "b")
FILES = {"vllm/torch_compile_cache/h/x.py": b"print()", "vllm/torch_compile_cache/h/y.so": b"\x7fELF" * 500}
LABELS = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())


@dataclass
class Round:
    """The record of one round: its actions, its recovery time, and the invariants that broke."""

    seed: int
    done: list[str] = field(default_factory=list)
    recovery_seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


class FaultyCluster(CountedCluster):
    """The real cluster, where some calls fail and the answers of some successful writes are lost."""

    chance: random.Random
    rate = 0.0

    def _call(self, method: str, kind: Kind, namespace: str, name: str = "", **more: Any) -> Object | None:
        drawn = self.chance.random()
        if drawn < self.rate / 2:
            raise ClusterError(f"{method} {kind.name}: the API server does not answer")
        found = super()._call(method, kind, namespace, name, **more)
        if drawn < self.rate:
            raise ClusterError(f"{method} {kind.name}: the answer was lost")
        return found


class Trouble(Driver):
    """A driver that injects faults."""

    cluster: FaultyCluster

    def __init__(self, kubeconfig: str, settings: StoreSettings, namespace: str, chance: random.Random) -> None:
        self.chance = chance
        self.bugs: list[str] = []
        self.kills = 0
        super().__init__(kubeconfig, settings, namespace)
        self.limits = SlotLimits(1)  # a and b tune in turn
        self.restart(Writes())

    def edges(self, api: ApiClient, settings: StoreSettings) -> tuple[FaultyCluster, CountedStore]:
        cluster = FaultyCluster(api)
        cluster.chance = self.chance
        return cluster, CountedStore(settings, seconds=2)

    def look_at(self, reconcile: Callable[[str, str], float | None], name: str) -> None:
        """Reconciles one object as the operator's controller does, and records reported bugs."""
        try:
            reconcile(self.namespace, name)
        except TunecastError:
            return
        except Killed:
            self.kills += 1
            self.restart(Writes())
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            self.bugs.append(f"{type(error).__name__}: {error}")

    def _watch(self) -> None:
        try:
            super()._watch()
        except TunecastError:
            return

    def _node(self) -> None:
        try:
            super()._node()
        except (TunecastError, OSError, urllib.error.URLError):  # a rank that cannot stage its result
            return


class Play:
    """Plays one round."""

    def __init__(self, driver: Trouble, proxy: FaultyS3, seed: int) -> None:
        self.driver, self.proxy, self.chance = driver, proxy, random.Random(seed)
        proxy.stall_seconds = 3.0
        self.result = Round(seed)
        self.wanted: dict[str, dict[str, Any]] = {}
        self.revisions: dict[str, int] = dict.fromkeys(NAMES, 0)  # number of template revisions by deployment
        self.templates: dict[str, set[str]] = {name: set() for name in NAMES}

    def run(self) -> Round:
        with tempfile.TemporaryDirectory() as name:
            self.archive(Path(name))
            self.create("a")
            for _ in range(STEPS):
                self.trouble()
                self.driver.step()
                self.look()
            self.calm()
            started = time.monotonic()
            while (open_ := list(self.open())) and time.monotonic() - started < CONVERGE_SECONDS:
                self.driver.step()
                self.look()
            self.result.recovery_seconds = time.monotonic() - started
            self.result.broken = [*open_, *self.driver.bugs, *(() if open_ else self.broken(Path(name)))]
        return self.result

    def archive(self, folder: Path) -> None:
        """Returns a real archive, which the real init program can install."""
        for path, data in FILES.items():
            (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / path).write_bytes(data)
        packed = bundle.pack(folder / "source", sorted(FILES), folder / "TorchCompile")
        self.whole = (folder / "TorchCompile").read_bytes()
        self.driver.kubelet.archive = replace(packed, layer="TorchCompile")
        self.driver.kubelet.staged = self.whole

    # --- faults -------------------------------------------------------------------------------------------------------

    def trouble(self) -> None:
        chance = self.chance
        rate = chance.choice((0.0, 0.0, 0.2, 0.5, 1.0))
        kinds = chance.sample([*Fault], k=3)
        draws = random.Random(chance.random())
        self.proxy.choose = lambda _method, _path: draws.choice(kinds) if draws.random() < rate else None
        self.driver.cluster.rate = chance.choice((0.0, 0.0, 0.1, 0.3))
        self.driver.kubelet.failure = chance.choice((None, None, None, "PeerLost", "EngineCrashed"))
        self.driver.kubelet.staged = chance.choice((self.whole, self.whole, self.whole[:-1], b"other"))
        self.driver.kubelet.running_only = chance.random() < 0.2
        if chance.random() < 0.4:
            self.kill()
        action = chance.choice((None, None, self.create_one, self.scale, self.change, self.delete, self.delete_job))
        if action:
            action()
        self.result.done.append(f"s3 {rate:.1f} {'/'.join(f.name for f in kinds) if rate else ''}")

    def kill(self) -> None:
        """Kills the operator after one of its next writes."""
        last = self.chance.randrange(1, 5)
        self.driver.restart(_Nth(last))
        self.driver.skew = timedelta(seconds=self.chance.choice((0, 0, 600, -600)))  # as on another node
        self.result.done.append(f"kill after {last} writes, clock {self.driver.skew.total_seconds():+.0f} s")

    def create_one(self) -> None:
        self.create(self.chance.choice(NAMES))

    def create(self, name: str, **spec: Any) -> None:
        if name not in self.wanted:
            self.revisions[name] += 1
            self.apply(name, replicas=2, tuning={"ranks": 2, "attempts": 10}, **spec)

    def scale(self) -> None:
        if self.wanted:
            self.apply(self.chance.choice(sorted(self.wanted)), replicas=self.chance.randrange(1, 4))

    def change(self) -> None:
        if self.wanted:
            name = self.chance.choice(sorted(self.wanted))
            self.revisions[name] += 1
            self.apply(name, template=pod_template(f"--max-model-len={self.chance.randrange(1, 4)}"))

    def delete(self) -> None:
        if len(self.wanted) > 1:
            name = self.chance.choice(sorted(self.wanted))
            del self.wanted[name]
            self.driver.plain.delete(INFERENCE_DEPLOYMENT, self.driver.namespace, name)
            self.result.done.append(f"delete {name}")

    def delete_job(self) -> None:
        jobs = self.driver.plain.list(JOB, self.driver.namespace)
        if jobs:
            job = self.chance.choice(jobs)["metadata"]
            self.driver.plain.delete(JOB, self.driver.namespace, job["name"], job["uid"])
            self.result.done.append("delete a Job")

    def apply(self, name: str, **spec: Any) -> None:
        self.wanted[name] = {**self.wanted.get(name, {}), **spec}
        owner = inference_deployment(**self.wanted[name])
        owner["metadata"] = {"name": name, "namespace": self.driver.namespace}
        self.driver.plain.apply(INFERENCE_DEPLOYMENT, owner)
        self.result.done.append(f"apply {name} {sorted(spec)}")

    def calm(self) -> None:
        self.proxy.choose = healthy
        self.driver.cluster.rate = 0.0
        self.driver.kubelet.failure, self.driver.kubelet.staged = None, self.whole
        self.driver.kubelet.running_only = False
        self.driver.skew = timedelta()
        self.driver.restart(Writes())

    # --- invariants ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Records the template hashes of the serving pods that exist now."""
        for pod in self.driver.plain.list(POD, self.driver.namespace, "tunecast.io/inference-deployment"):
            labels = pod["metadata"]["labels"]
            self.templates[labels["tunecast.io/inference-deployment"]].add(labels["pod-template-hash"])

    def open(self) -> Iterator[str]:
        """Describes what has not converged yet."""
        for name, spec in self.wanted.items():
            yield from self._open(name, int(spec["replicas"]))
        for cache in self.driver.caches():
            status = cache.get("status") or {}
            state = status.get("state")
            if status.get("referredBy") and state not in {"Ready", "Failed"}:
                yield f"StartupCache {cache['metadata']['name']} is {state}"
        left = {
            "unfinished Jobs": [j["metadata"]["name"] for j in self._list(JOB) if not finished(j)],
            "Secrets": [s["metadata"]["name"] for s in self._list(SECRET)],
            "objects in staging": self.driver.store.staged_attempts(self.driver.namespace),
            "ranks' Services": [s["metadata"]["name"] for s in self._list(SERVICE) if s["spec"]["clusterIP"] == "None"],
        }
        yield from (f"{what} are left: {names}" for what, names in left.items() if names)

    def _open(self, name: str, replicas: int) -> Iterator[str]:
        found = self.driver.plain.get(DEPLOYMENT, self.driver.namespace, name)
        if found is None or found["spec"]["replicas"] != replicas:
            yield f"{name} does not request its {replicas} replicas"
        status = self.driver.deployment_status(name)
        if status.get("cache") not in {"Hit", "Failed", "Cold"}:
            yield f"{name} is still {status.get('cache')}"
        if status.get("rendered", {}).get("key") != status.get("key"):
            yield f"{name} still serves an old revision"

    def _list(self, kind: Kind) -> list[Object]:
        selector = CACHE_LABEL if kind is JOB else LABELS
        return self.driver.plain.list(kind, self.driver.namespace, selector)

    def broken(self, folder: Path) -> Iterator[str]:
        """Describes the invariants that are broken."""
        for name, seen in self.templates.items():
            if len(seen) > self.revisions[name]:
                yield f"{name}: {len(seen)} pod templates after {self.revisions[name]} changes by its user"
        signer = Signer(self.driver.private)
        caches = {cache["spec"]["key"]: cache for cache in self.driver.caches()}
        ready = {key for key, cache in caches.items() if (cache.get("status") or {}).get("state") == "Ready"}
        published = self._manifests(signer)
        yield from (f"{key} is Ready and has no manifest" for key in ready - published.keys())
        for key, manifest in published.items():
            yield from self._wrong(manifest)
            if key in ready:
                yield from self._init(key, folder / f"mount-{key[:8]}")
        for name in self.wanted:
            status = self.driver.deployment_status(name)
            if (status["cache"] == "Hit") != (status["key"] in ready):
                yield f"{name} reports {status['cache']}; StartupCaches that are Ready: {sorted(ready)}"

    def _manifests(self, signer: Signer) -> dict[str, Manifest]:
        """Returns every manifest of the namespace by key. Each one must have this signer's signature."""
        settings = self.driver.installation.store
        root = layout.manifests_prefix(settings.prefix, self.driver.namespace, "").rstrip("/") + "/"
        found = {}
        with closing(connect_s3(settings)) as client:
            for item in client.list_objects_v2(Bucket=settings.bucket, Prefix=root).get("Contents", ()):
                data = client.get_object(Bucket=settings.bucket, Key=item["Key"])["Body"].read()
                payload, _ = verify(data, {signer.signer: signer.public_key})
                manifest = decode(Manifest, payload, item["Key"])
                found[manifest.key] = manifest
        return found

    def _wrong(self, manifest: Manifest) -> Iterator[str]:
        settings = self.driver.installation.store
        with closing(connect_s3(settings)) as client:
            for archive in manifest.archives:
                name = layout.blob_object(settings.prefix, self.driver.namespace, archive.digest)
                data = client.get_object(Bucket=settings.bucket, Key=name)["Body"].read()
                if hashlib.sha256(data).hexdigest() != archive.digest:
                    yield f"{name} does not have the digest in its name"

    def _init(self, key: str, mount: Path) -> Iterator[str]:
        """Installs as a new replica would, with the real code and the trust of the namespace, and checks the files."""
        mount.mkdir()
        found = self.driver.plain.get(CONFIG_MAP, self.driver.namespace, "tunecast-trust") or {}
        trust = decode(Trust, found["data"]["trust.json"].encode(), "trust")
        settings = Settings(key, self.driver.namespace, mount, mount, frozenset(), bytecode=True, hardware=Hardware())
        report = fetch(settings, trust, Phases(time.monotonic, time.monotonic()), time.monotonic() + 20)
        files = {str(path.relative_to(mount)): path.read_bytes() for path in mount.rglob("*") if path.is_file()}
        if report.result != "Hit" or files != FILES:
            yield f"a replica of {key} gets {report.result}, {report.reason}, {sorted(files)}"


class _Nth(Writes):
    """Kills the operator after its nth write of any name."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self._left = last

    def happened(self, name: str) -> None:
        self.names.append(name)
        self._left -= 1
        if self._left == 0:
            raise Killed
