"""Compares our broadcast of files with a bare ``torch.distributed.broadcast`` of the same bytes, on two local ranks.

    python3 bench/broadcast.py --mebibytes 512 --chunk 8

It needs torch: run it with the engine's interpreter and PYTHONPATH=tuner:core. Our broadcast reads and writes files
with bounded memory; the bare broadcast sends one tensor that is in memory already.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import distributed

from tunecast_core.records import job
from tunecast_tuner.peers import ranks, transfer
from tunecast_tuner.rank.attempt import Attempt

MEBI = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--chunk", type=int, default=transfer.CHUNK // MEBI, help="MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    if options.rank is None:
        _launch(options)
    else:
        _rank(options)


def _launch(options: argparse.Namespace) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    shared = [f"--{name}={getattr(options, name)}" for name in ("mebibytes", "chunk", "rounds")]
    command = [sys.executable, __file__, *shared, f"--port={port}"]
    peer = subprocess.Popen([*command, "--rank=1"], stdout=subprocess.DEVNULL)
    subprocess.run([*command, "--rank=0"], check=True)
    if peer.wait(60):
        sys.exit("rank 1 failed")


def _rank(options: argparse.Namespace) -> None:
    size = options.mebibytes * MEBI
    settings = job.JobSettings(
        attempt_id="bench",
        key="",
        world_size=2,
        rendezvous_host="localhost",
        rendezvous_port=options.port,
        workload="Engine",
        mount_path="/",
        timeout_seconds=600.0,
        command=("true",),
    )
    with (
        tempfile.TemporaryDirectory() as directory,
        ranks.join(settings, options.rank, Attempt(600.0), silence=8.0) as group,
    ):
        group.chunk = options.chunk * MEBI
        path = Path(directory, "archive")
        if options.rank == 0:
            path.write_bytes(os.urandom(MEBI) * options.mebibytes)
        _ours(group, path, MEBI)  # the first transfer opens the connection
        results: dict[str, list[float]] = {"ours": [], "bare": []}
        tensor = torch.zeros(size, dtype=torch.uint8)
        for _ in range(options.rounds):
            results["ours"].append(_timed(lambda: _ours(group, path, size)))
            results["bare"].append(_timed(lambda: distributed.broadcast(tensor, src=0)))
    if options.rank == 0:
        ours, bare = (min(results[name]) for name in ("ours", "bare"))
        rates = {"ours_mib_s": round(options.mebibytes / ours), "bare_mib_s": round(options.mebibytes / bare)}
        print(
            json.dumps(
                {"mebibytes": options.mebibytes, "chunk_mib": options.chunk, **rates, "ratio": round(bare / ours, 2)}
            )
        )


def _ours(group: ranks.Ranks, path: Path, size: int) -> None:
    if group.rank:
        group.receive([(path, size)])
    elif path.stat().st_size == size:
        group.send([path])
    else:
        short = path.with_name("short")
        short.write_bytes(bytes(size))
        group.send([short])


def _timed(work: object) -> float:
    distributed.barrier()
    start = time.perf_counter()
    work()  # type: ignore[operator]
    distributed.barrier()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
