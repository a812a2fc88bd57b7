"""Measures the webhook: latency under a steady load, storms of pods, and memory.

    PYTHONPATH=core:operator:tuner:initcontainer:tests:tests/cluster python bench/webhook.py [--seconds 60]

The webhook is the whole program, on this machine, with a real API server. The steady load and the first storm call it
over HTTPS as an API server does; each latency counts from the moment when the request was due. The second storm
creates pods in the API server, which calls the webhook. Exits with 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from harness.kubectl import Kubectl, wait_for
from support.kubernetes import control_plane
from support.pod_storm import INJECTED, MISSED, Load, load, peak_memory, pod, storm
from support.webhook_process import Release, reviewed

NAMESPACE = "webhook-bench"
RATE, STORM = 100, 200  # pods per second, pods in one second
SLOWEST, MEMORY = 0.050, 128.0  # the promised limits: 99th percentile in seconds at the steady load, MiB


async def direct(release: Release, stored: dict[str, Any], seconds: int) -> tuple[Load, Load]:
    """Returns the steady load, and a storm in which each pod comes on a new connection."""
    context = ssl.create_default_context(cadata=release.certificate.authority.decode())
    context.check_hostname = False
    body, url = json.dumps(reviewed(stored, NAMESPACE)).encode(), f"https://127.0.0.1:{release.port}/mutate"

    async def ask(session: aiohttp.ClientSession) -> str:
        async with session.post(url, data=body, ssl=context) as response:
            return INJECTED if response.ok and "patch" in (await response.json())["response"] else str(response.status)

    async with aiohttp.ClientSession() as session:
        steady = await load(lambda _: ask(session), RATE * seconds, RATE)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=STORM, force_close=True)) as session:
        return steady, await load(lambda _: ask(session), STORM, STORM)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="length of the steady load")
    options = parser.parse_args()
    with control_plane("bench") as kubectl, tempfile.TemporaryDirectory() as folder:
        kubectl("create", "namespace", NAMESPACE)
        kubectl("wait", "--for=create", "serviceaccount/default", "--namespace", NAMESPACE, "--timeout=60s")
        stored = kubectl.create(pod(0, NAMESPACE), "--dry-run=server")
        release = Release(kubectl, f"{NAMESPACE}-release")
        release.install(release.new_certificate())
        with release.process(Path(folder)) as process:
            wait_for(lambda: release.ready, "the webhook is ready", 60)
            wait_for(lambda: _injects(kubectl), "the API server trusts the webhook", 60)
            ready = peak_memory(process.pid)
            steady, burst = asyncio.run(direct(release, stored, options.seconds))
            created = asyncio.run(storm(kubectl, NAMESPACE, STORM))
            return show(steady, burst, created, (ready, peak_memory(process.pid)))


def _injects(kubectl: Kubectl) -> bool:
    return "tunecast.io/key" in kubectl.create(pod(0, NAMESPACE), "--dry-run=server")["metadata"]["labels"]


def show(steady: Load, burst: Load, created: Load, memory: tuple[float, float]) -> int:
    """Prints the tables; returns 1 if a promise is broken."""
    print("| load | pods | injected | missed | refused | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|---|---|---|")
    print(steady.row(f"{RATE} pods/s, directly"))
    print(burst.row(f"{STORM} pods in 1 s, directly, a connection each"))
    print(created.row(f"{STORM} pods in 1 s, created in the API server"))
    print(f"peak memory: {memory[0]:.0f} MiB when ready, {memory[1]:.0f} MiB at the end (promised: < {MEMORY:.0f} MiB)")
    kept = all({*found.outcomes} <= {INJECTED, MISSED} for found in (steady, burst, created))
    return int(not kept or steady.slow >= SLOWEST or memory[1] >= MEMORY)


if __name__ == "__main__":
    sys.exit(main())
