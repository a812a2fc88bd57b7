"""Runs many replicas' init containers at once, against a store that is healthy, down, slow, stalling or flapping.

    PYTHONPATH=core:initcontainer:operator:tests:tests/cluster python bench/init_storm.py [--replicas 100]

Each init program runs whole, as the kubelet would start it, and all share this machine's cores. The store is a real S3
server behind a proxy that injects faults. The table shows what the init programs reported, when they ended, and how
many requests the store received.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from support.faulty_s3 import Choose, Fault, FaultyS3, faulty, healthy
from support.published import KEY, NAMESPACE, Bucket, bucket
from support.s3 import serving
from tunecast_core.records.codec import decode
from tunecast_core.records.report import InitReport

ROOT = Path(__file__).parent.parent
SIZE = 2_000_000  # bytes of the bundle: 20 seconds at 100 kB/s


def flapping() -> Choose:
    """The store alternates between two healthy seconds and two seconds of refused connections."""
    return lambda _method, _path: Fault.REFUSE if int(time.monotonic()) % 4 < 2 else None  # noqa: PLR2004


def every_other(seed: int) -> Choose:
    """Half of the requests meet a fault, and the kinds of fault take turns."""
    chance = random.Random(seed)
    faults = itertools.cycle(Fault)
    return lambda _method, _path: next(faults) if chance.random() < 0.5 else None  # noqa: PLR2004


STORES: dict[str, Choose] = {
    "well": healthy,
    "down": lambda *_: Fault.REFUSE,
    "answering 503": lambda *_: Fault.ERROR_503,
    "stalling": lambda *_: Fault.STALL,
    "slow": lambda *_: Fault.SLOW,
    "flapping": flapping(),
    "faulty by half": every_other(1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=100)
    parser.add_argument("--deadline", type=float, default=30.0)
    parser.add_argument("--stores", nargs="*", choices=STORES, default=[*STORES])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as s3:
        os.environ.update(s3.environment)
        found, folder = bucket(s3, "storm"), Path(name)
        files = {f"triton/{n}/kernel": random.Random(n).randbytes(SIZE // 100) for n in range(100)}
        found.publish(files, folder)
        with faulty(s3.endpoint) as proxy:
            behind = replace(found, s3=replace(s3, endpoint=proxy.endpoint))
            print("| store | ended | median s | last s | over the deadline | requests | most in 1 s | reports |")
            print("|---|---|---|---|---|---|---|---|")
            for store in arguments.stores:
                storm(store, behind, proxy, folder / store.replace(" ", "-"), arguments.replicas, arguments.deadline)


def storm(store: str, found: Bucket, proxy: FaultyS3, folder: Path, replicas: int, deadline: float) -> None:
    """Starts all init programs at once; returns a row of the table."""
    folder.mkdir()
    proxy.choose = STORES[store]
    proxy.seen.clear()
    proxy.times.clear()
    found.trust(folder / "trust", deadline_seconds=deadline)
    started = time.monotonic()
    processes = [start(found, folder, number) for number in range(replicas)]
    ends = wait(processes, started, deadline)
    reports = [decode(InitReport, (folder / str(n) / "log").read_bytes(), "a report") for n in range(replicas)]
    outcomes = Counter(f"{report.result}: {report.reason}" for report in reports)
    row = [
        store,
        len(ends),
        f"{statistics.median(ends):.1f}",
        f"{max(ends):.1f}",
        sum(report.seconds.get("total", 0) > deadline for report in reports),
        sum(proxy.seen.values()),
        busiest(proxy.times),
        ", ".join(f"{count} {words}" for words, count in outcomes.most_common()),
    ]
    print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)


def start(found: Bucket, folder: Path, number: int) -> subprocess.Popen[bytes]:
    pod = folder / str(number)
    (pod / "mount").mkdir(parents=True)
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}/core:{ROOT}/initcontainer",
        **found.s3.environment,
        "TUNECAST_KEY": KEY,
        "TUNECAST_NAMESPACE": NAMESPACE,
        "TUNECAST_MOUNT_PATH": str(pod / "mount"),
        "TUNECAST_TRUST": str(folder / "trust"),
        "TUNECAST_TERMINATION_LOG": str(pod / "log"),
    }
    command = [sys.executable, "-m", "tunecast_init", "fetch"]
    return subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait(processes: list[subprocess.Popen[bytes]], started: float, deadline: float) -> list[float]:
    """Returns the seconds until each program ended. A program that does not end is killed and left out."""
    ends: dict[int, float] = {}
    while len(ends) < len(processes) and time.monotonic() - started < deadline + 120:
        for number, process in enumerate(processes):
            if number not in ends and process.poll() is not None:
                ends[number] = time.monotonic() - started
        time.sleep(0.05)
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    return [*ends.values()]


def busiest(times: list[float]) -> int:
    """Returns the largest number of requests within one second."""
    return max(Counter(int(moment) for moment in times).values(), default=0)


if __name__ == "__main__":
    main()
