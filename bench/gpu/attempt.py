"""Runs one attempt as a Job would: rank programs as processes, staging, publishing, and then the init program."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpu.world import NAMESPACE, ROOT, World, engine_environment, private
from ranks.attempt import tools
from support.objects import inference_deployment, snapshot_of
from tunecast_core.bundle import flashinfer
from tunecast_core.bundle.layers import LAYERS
from tunecast_core.key import MOUNT_PATH
from tunecast_core.records import job
from tunecast_core.records.codec import canonical, decode, to_json
from tunecast_core.records.report import InitReport
from tunecast_core.records.seal import unseal
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.runtime.publisher import Publisher

URL_SECONDS = 3600
RENDEZVOUS = 29400


@dataclass
class Attempt:
    """The rank programs of one attempt."""

    world: World
    key: str
    uid: str
    command: Sequence[str]
    workload: str = "Engine"
    ranks: int = 2
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable  # of the rank programs
    per_rank: dict[int, dict[str, str]] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.world.folder / self.uid

    @property
    def name(self) -> str:
        return f"{self.uid}-1"

    def settings(self) -> job.JobSettings:
        names = [job.PROGRESS, *(job.archive_object(layer.name) for layer in LAYERS)]
        names += [job.result_object(rank) for rank in range(self.ranks)]
        urls = self.world.store.presign_puts(NAMESPACE, self.key, self.name, names, URL_SECONDS)
        return job.JobSettings(
            attempt_id=self.name,
            key=self.key,
            world_size=self.ranks,
            rendezvous_host="localhost",
            rendezvous_port=RENDEZVOUS,
            workload="Operators" if self.workload == "Operators" else "Engine",
            mount_path=MOUNT_PATH,
            timeout_seconds=1200.0,
            uploads=urls,
            wants_gpu=True,
        )

    def start(self) -> None:
        settings = canonical(self.settings())
        for rank in range(self.ranks):
            folder = self.folder / f"rank-{rank}"
            for name in ("settings", "mount"):
                (folder / name).mkdir(parents=True)
            (folder / "settings" / job.SETTINGS_FILE).write_bytes(settings)
            program = [self.python, "-B", str(tools(self.world.folder)), f"--rank={rank}"]
            program += [f"--settings={folder / 'settings'}", f"--termination-log={folder / 'termination-log'}"]
            command = private(folder / "mount", [*program, "--", *self.command])
            more = {**self.environment, **self.per_rank.get(rank, {})}
            with (folder / "log").open("wb") as log:
                self.processes.append(subprocess.Popen(command, env=engine_environment(more), stdout=log, stderr=log))

    def wait(self, seconds: float = 1200.0) -> list[job.RankResult]:
        """Waits for all ranks; returns their results, read from their termination messages."""
        end = time.monotonic() + seconds
        for process in self.processes:
            process.wait(max(1.0, end - time.monotonic()))
        return [self.result(rank) for rank in range(self.ranks)]

    def result(self, rank: int) -> job.RankResult:
        path = self.folder / f"rank-{rank}" / "termination-log"
        if not path.exists():
            return job.RankResult(rank, succeeded=False, reason="NoResult", message="it left none")
        return decode(job.RankResult, path.read_bytes(), str(path))

    def staged(self) -> job.RankResult:
        """Returns the whole result that rank 0 staged."""
        name = job.result_object(0)
        data = self.world.store.read_staged(NAMESPACE, self.key, self.name, name, 2**22)
        if data is None:
            raise RuntimeError(f"rank 0 of {self.uid} staged nothing: {self.log(0)[-3000:]}")
        return decode(job.RankResult, unseal("", name, data), "rank 0's result")

    def tactics(self) -> dict[str, Any]:
        """Returns the tactics of the autotune file that rank 0 staged."""
        names = (job.archive_object(layer) for layer in (flashinfer.LAYER, flashinfer.TACTICS_LAYER))
        staged = (self.world.store.read_staged(NAMESPACE, self.key, self.name, name, 2**26) for name in names)
        data = next((data for data in staged if data is not None), None)
        if data is None:
            return {}
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            member = next(m for m in archive if m.name.endswith(flashinfer.FILE))
            file = archive.extractfile(member)
            return dict(flashinfer.read(file.read() if file else b"", member.name).tactics)

    def log(self, rank: int) -> str:
        return (self.folder / f"rank-{rank}" / "log").read_text(errors="replace")

    def leftovers(self, rank: int) -> list[str]:
        return sorted(path.name for path in (self.folder / f"rank-{rank}" / "mount-tmp").iterdir())

    def publish(self, result: job.RankResult) -> None:
        """Publishes the bundle with the operator's own code."""
        spec = StartupCacheSpec.model_validate({**snapshot_of(inference_deployment()), "key": self.key})
        cache = {"metadata": {"namespace": NAMESPACE, "name": "bench", "uid": self.uid}}
        Publisher(self.world.store, self.world.signer, self.world.trusted).publish(
            cache, spec, 1, result, datetime.now(UTC)
        )

    def kill(self, rank: int, number: signal.Signals) -> None:
        """Sends a signal to the rank program alone, as the kernel or the kubelet would."""
        os.kill(self.processes[rank].pid, number)

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def install(world: World, key: str, target: Path) -> tuple[InitReport, float]:
    """Runs the whole init program; returns its report, and the seconds from its start to its end."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([f"{ROOT}/core", f"{ROOT}/initcontainer", os.environ.get("PYTHONPATH", "")]),
        "TUNECAST_KEY": key,
        "TUNECAST_NAMESPACE": NAMESPACE,
        "TUNECAST_TRUST": str(world.trust()),
        "TUNECAST_TERMINATION_LOG": str(world.folder / "init.json"),
        "TUNECAST_PYCACHE": "true",
        "TUNECAST_WANTS_GPU": "true",
    }
    started = time.monotonic()
    subprocess.run(private(target, [sys.executable, "-m", "tunecast_init", "fetch"]), env=environment, check=True)
    seconds = time.monotonic() - started
    return decode(InitReport, (world.folder / "init.json").read_bytes(), "the init program's report"), seconds


def to_object(result: job.RankResult) -> dict[str, Any]:
    """Returns a result as a JSON object, for the raw figures."""
    value: dict[str, Any] = to_json(result)
    return value
