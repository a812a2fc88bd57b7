"""Times an init container with a bundle like the demo's, and ``tar xzf`` of the same bytes for comparison.

    PYTHONPATH=core:initcontainer:operator:tests:tests/cluster python bench/init_container.py [--tree DIR] [--runs 5]

The bundle holds DIR (laid out like a mount path). Without ``--tree``, it holds about 120 MB of bytecode, compiled from
this Python's installed packages, and 2 MB that don't compress. S3 is a real server on this machine, so the time
includes no network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from support.published import KEY, NAMESPACE, Bucket, bucket
from support.s3 import serving
from tunecast_core.records.codec import decode
from tunecast_core.records.report import InitReport

BYTECODE = 120_000_000
ROOT = Path(__file__).parent.parent
# A small separate process measures, because a child's peak memory starts at that of its parent.
METER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class Measured:
    seconds: float
    cpu: float  # seconds
    peak: float  # MiB
    phases: dict[str, float] = field(default_factory=dict)  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as s3:
        os.environ.update(s3.environment)
        folder = Path(name)
        found = bucket(s3, "bench")
        archives = found.publish_tree(arguments.tree or demo(folder / "tree"), folder)
        files, raw, packed = (sum(n) for n in zip(*((a.files, a.unpacked, a.size) for a in archives), strict=True))
        print(f"{files} files, {raw / 1e6:.0f} MB packed to {packed / 1e6:.0f} MB, {os.cpu_count()} cores")
        runs = [run(found, folder / f"init-{i}") for i in range(arguments.runs)]
        tars = [untar([folder / a.layer for a in archives], folder / f"tar-{i}") for i in range(arguments.runs)]
        show(runs, tars)


def demo(tree: Path) -> Path:
    """Fills ``tree`` with copies of the installed packages' bytecode up to ``BYTECODE`` bytes, and 2 MB of noise."""
    pycache = tree / "pycache/usr"
    compiling = [sys.executable, "-m", "compileall", "-qq", sysconfig.get_paths()["purelib"]]
    subprocess.run(compiling, env={**os.environ, "PYTHONPYCACHEPREFIX": str(pycache)}, check=False)
    size = sum(p.stat().st_size for p in pycache.rglob("*.pyc"))
    for copy in range(1, BYTECODE // size):
        shutil.copytree(pycache, tree / f"pycache/copy-{copy}")
    (tree / "torchinductor").mkdir()
    for i in range(64):
        (tree / f"torchinductor/{i}.so").write_bytes(os.urandom(32_000))
    return tree


def run(found: Bucket, folder: Path) -> Measured:
    """Measures one whole run of the init container."""
    (folder / "mount").mkdir(parents=True)
    environment = {
        "PYTHONPATH": f"{ROOT}/core:{ROOT}/initcontainer",
        "TUNECAST_KEY": KEY,
        "TUNECAST_NAMESPACE": NAMESPACE,
        "TUNECAST_MOUNT_PATH": str(folder / "mount"),
        "TUNECAST_TRUST": str(found.trust(folder / "trust")),
        "TUNECAST_TERMINATION_LOG": str(folder / "log"),
        "TUNECAST_PYCACHE": "true",
    }
    measured = meter([sys.executable, "-m", "tunecast_init", "fetch"], environment)
    report = decode(InitReport, (folder / "log").read_bytes(), "the report")
    assert report.result == "Hit", report
    return Measured(*measured, report.seconds)


def untar(archives: list[Path], target: Path) -> Measured:
    target.mkdir()
    each = [Measured(*meter(["tar", "xzf", str(archive), "-C", str(target)], {})) for archive in archives]
    return Measured(sum(m.seconds for m in each), sum(m.cpu for m in each), max(m.peak for m in each))


def meter(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    out = subprocess.check_output([sys.executable, "-c", METER, *command], env={**os.environ, **environment})
    seconds, cpu, peak = json.loads(out)
    return seconds, cpu, peak


def show(runs: list[Measured], tars: list[Measured]) -> None:
    whole, tar = (statistics.median(m.seconds for m in each) for each in (runs, tars))
    for name, each in (("whole run", runs), ("tar xzf", tars)):
        median, cpu = (statistics.median(n) for n in ([m.seconds for m in each], [m.cpu for m in each]))
        best = min(m.seconds for m in each)
        print(
            f"{name:12} {median:6.2f} s (median; best {best:.2f}), {cpu:5.2f} s of CPU, {each[0].peak:4.0f} MiB at most"
        )
    print(f"whole run / tar xzf: {whole / tar:.2f}")
    for phase in runs[0].phases:
        median = statistics.median(m.phases[phase] for m in runs)
        print(f"  {phase:10} {median:6.2f} s {median / whole:6.0%}")


if __name__ == "__main__":
    main()
