"""Runs the whole init container as the kubelet would start it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.published import KEY, NAMESPACE, Bucket
from tunecast_core.records import report
from tunecast_core.records.codec import decode
from tunecast_core.records.report import InitReport

ROOT = Path(__file__).parents[2]
FILES = {
    "triton/abc/kernel.cubin": b"cubin" * 1000,
    "vllm/torch_compile_cache/h/a.py": b"print()",
    "pycache/usr/m.pyc": b"code",
}


@dataclass(frozen=True)
class Ended:
    exit: int
    report: InitReport
    out: str
    seconds: float
    files: dict[str, bytes]  # all files below the mount path


@dataclass(frozen=True)
class Pod:
    """The volumes and variables of a pod."""

    folder: Path
    bucket: Bucket
    wrapper: Sequence[str] = ()  # a command that switches user, or takes permissions away

    @property
    def mount(self) -> Path:
        return self.folder / "mount"

    def start(self, environment: dict[str, str], **trust: Any) -> subprocess.Popen[str]:
        self.mount.mkdir(exist_ok=True)
        self.mount.chmod(0o777)  # the modes with which the kubelet makes an emptyDir and the termination log
        (self.folder / "log").write_bytes(b"")
        (self.folder / "log").chmod(0o666)
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}/core:{ROOT}/initcontainer",
            **self.bucket.s3.environment,
            "TUNECAST_KEY": KEY,
            "TUNECAST_NAMESPACE": NAMESPACE,
            "TUNECAST_MOUNT_PATH": str(self.mount),
            "TUNECAST_TRUST": str(self.bucket.trust(self.folder / "trust", **trust)),
            "TUNECAST_TERMINATION_LOG": str(self.folder / "log"),
            "TUNECAST_PYCACHE": "true",
            **environment,
        }
        command = [*self.wrapper, sys.executable, "-m", "tunecast_init", "fetch"]
        return subprocess.Popen(
            command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def run(self, environment: dict[str, str] | None = None, **trust: Any) -> Ended:
        started = time.monotonic()
        with self.start(environment or {}, **trust) as process:
            return self.end(process, started)

    def end(self, process: subprocess.Popen[str], started: float) -> Ended:
        out, _ = process.communicate(timeout=60)
        seconds = time.monotonic() - started
        log = (self.folder / "log").read_bytes()
        assert len(log) <= report.LIMIT
        files = {str(p.relative_to(self.mount)): p.read_bytes() for p in self.mount.rglob("*") if p.is_file()}
        return Ended(process.returncode, decode(InitReport, log, out), out, seconds, files)


def cold(ended: Ended, reason: str, *, exit_code: int = 0) -> None:
    assert (ended.report.result, ended.report.reason) == ("Cold", reason), ended.out
    assert ended.exit == exit_code
    assert ended.files == {}
    assert reason in ended.out
    assert ended.report.message in ended.out
