"""Starts an engine once on a mount path that is ready, and measures /health, first token, phases and throughput.

    python serve.py ROW.json RESULT.json

It runs inside the mount namespace that ``world.private`` makes, and writes the figures as JSON.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpu.world import HOME
from tunecast_core.bundle import layers
from tunecast_core.bundle import pack as bundle
from tunecast_core.key import MOUNT_PATH
from tunecast_core.records import job
from tunecast_core.records.codec import from_json, to_json
from tunecast_core.records.manifest import Archive
from tunecast_tuner.engine import sweep
from tunecast_tuner.engine.child import EngineProcess, running
from tunecast_tuner.engine.kinds import prompt as token_ids
from tunecast_tuner.proof import keyfactors
from tunecast_tuner.proof.phases import read
from tunecast_tuner.rank.attempt import Attempt
from tunecast_tuner.rank.console import Console
from tunecast_tuner.rank.context import Context
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.rank.upload import ProgressReporter
from tunecast_tuner.workloads.engine import Offer, prove

LOADS = ((1, 1, 256), (64, 256, 128), (256, 256, 128))  # requests at once, prompt tokens, new tokens
SPOILT_NS = 24


def main() -> None:
    """Runs the start that ROW.json describes."""
    row = json.loads(Path(sys.argv[1]).read_text())
    context = _context(row)
    result = _served(row, context) if row.get("archives") is None else _proved(row, context)
    Path(sys.argv[2]).write_text(json.dumps(result, indent=1))
    sys.stdout.flush()
    os._exit(0)


def _context(row: dict[str, Any]) -> Context:
    attempt = Attempt(900.0)
    console = Console(0, lambda: attempt.elapsed)
    settings = job.JobSettings(
        attempt_id="bench",
        key="bench",
        world_size=1,
        rendezvous_host="localhost",
        rendezvous_port=1,
        workload="Engine",
        mount_path=row.get("mount_path", MOUNT_PATH),
        timeout_seconds=900.0,
        command=tuple(row["command"]),
    )

    environ = {**os.environ, "PYTHONPATH": os.environ.get("BENCH_ENGINE_PATH", ""), "HOME": HOME, **row["environment"]}
    progress = ProgressReporter(lambda: settings, console, lambda: attempt.elapsed)
    return Context(settings, attempt, console, progress, lambda: settings, environ, Path(row["folder"]))


def _proved(row: dict[str, Any], context: Context) -> dict[str, Any]:
    """Starts warm from some layers of the bundle, and adds the proof of that start."""
    archives = tuple(from_json(Archive, value, "archive") for value in row["archives"])
    started = time.monotonic()
    bundle.install([(Path(row["folder"], archive.layer), archive) for archive in archives], context.root)
    placed = time.monotonic() - started
    spoilt = _spoil(context.root) if row.get("spoil") else None
    cold = {name: value for name, value in context.environ.items() if name not in row.get("strange", [])}
    offer = Offer(archives, row["variables"], (), 0, ((), ()), keyfactors.fingerprints(cold))
    found = {"install_seconds": round(placed, 3), "spoilt": spoilt}
    try:
        return {**found, "proof": to_json(prove(context, offer, 0))}
    except AttemptError as failure:
        return {**found, "failure": {"reason": failure.reason, "message": failure.message}}


def _spoil(root: Path) -> str:
    """Makes the largest object 24 ns too new, as a float's rounding once did."""
    found = max(root.glob("flashinfer/**/*.o"), key=lambda path: path.stat().st_size)
    status = found.stat()
    os.utime(found, ns=(status.st_atime_ns, status.st_mtime_ns + SPOILT_NS))
    return str(found.relative_to(root))


def _served(row: dict[str, Any], context: Context) -> dict[str, Any]:
    environment = {**context.environ, **layers.environment(context.settings.mount_path), **row["variables"]}
    with running(context.settings.command, environment, context.line, context.console) as engine:
        healthy = engine.wait_healthy(context.attempt)
        models = engine.client.get("/v1/models")
        limit = sweep.limits(context.line, models)
        sweep.first_request(engine, limit, context.attempt, models)
        first = engine.seconds
        start = read(engine.log.head, healthy)
        throughput = [] if row.get("no_throughput") else [_load(engine, limit, *load) for load in LOADS]
    return {"start": to_json(start), "first_token_seconds": round(first, 3), "throughput": throughput}


def _load(engine: EngineProcess, limit: sweep.Limits, at_once: int, prompt: int, new: int) -> dict[str, Any]:
    """Measures output tokens per second, after one warm-up round."""

    def one(seed: int) -> int:
        body = {
            "model": limit.model,
            "prompt": token_ids(prompt, seed),
            "max_tokens": new,
            "temperature": 0,
            "ignore_eos": True,
        }
        try:
            reply = engine.client.post("/v1/completions", body)
        except (OSError, http.client.HTTPException):
            return 0
        return int(reply.body.get("usage", {}).get("completion_tokens", 0))

    rates = []
    for turn in range(3):
        started = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            tokens = sum(pool.map(one, range(turn * 100_000 + 1, turn * 100_000 + 1 + at_once)))
        rates.append(tokens / (time.monotonic() - started))
    return {
        "at_once": at_once,
        "prompt": prompt,
        "new": new,
        "tokens_per_second": [round(rate, 1) for rate in rates[1:]],
    }


if __name__ == "__main__":
    main()
