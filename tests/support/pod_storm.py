"""Sends pods at a fixed rate, and creates them in a real API server."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from harness.deploy import ROOT
from harness.kubectl import Kubectl

POD = ROOT / "tests" / "data" / "pods" / "kserve-runtime.yaml"
INJECTED, MISSED = "injected", "missed"


@dataclass(frozen=True, slots=True)
class Load:
    """The outcomes of one load, by pod, and its latencies in seconds."""

    outcomes: Sequence[str]
    seconds: Sequence[float]

    @property
    def slow(self) -> float:
        """The 99th percentile of the latencies."""
        return statistics.quantiles(self.seconds, n=100)[98]

    def row(self, name: str) -> str:
        """Returns a row of the table."""
        count = self.outcomes.count
        times = (statistics.median(self.seconds), self.slow, max(self.seconds))
        refused = len(self.outcomes) - count(INJECTED) - count(MISSED)
        cells = [name, len(self.outcomes), count(INJECTED), count(MISSED), refused, *(f"{t * 1000:.1f}" for t in times)]
        return f"| {' | '.join(map(str, cells))} |"


async def load(send: Callable[[int], Awaitable[str]], pods: int, rate: float) -> Load:
    """Sends ``pods`` pods, ``rate`` in a second, whether or not earlier ones have been answered."""
    begun = time.perf_counter()

    async def one(number: int) -> tuple[str, float]:
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        outcome = await send(number)
        return outcome, time.perf_counter() - due

    done = await asyncio.gather(*(one(number) for number in range(pods)))
    return Load([outcome for outcome, _ in done], [seconds for _, seconds in done])


def pod(number: int, namespace: str) -> dict[str, Any]:
    """Returns a pod of KServe's with the label."""
    template = next(yaml.safe_load_all(POD.read_text()))
    labels = {**template["metadata"]["labels"], "tunecast.io/inject": "true"}
    metadata = {**template["metadata"], "name": f"pod-{number}", "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


async def storm(kubectl: Kubectl, namespace: str, pods: int) -> Load:
    """Creates ``pods`` pods in the API server within one second."""
    server, context, token = connection(kubectl)
    url = f"{server}/api/v1/namespaces/{namespace}/pods"
    headers = {"Authorization": f"Bearer {token}"}

    async def create(session: aiohttp.ClientSession, number: int) -> str:
        async with session.post(url, json=pod(number, namespace), ssl=context) as response:
            made = await response.json()
            if not response.ok:
                return str(made.get("message"))
            return INJECTED if "tunecast.io/key" in made["metadata"]["labels"] else MISSED

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=pods), headers=headers) as session:
        return await load(lambda number: create(session, number), pods, pods)


def connection(kubectl: Kubectl) -> tuple[str, ssl.SSLContext, str]:
    """Returns the address of the API server, a TLS context that trusts it, and the administrator's token."""
    found = json.loads(kubectl("config", "view", "--raw", "--flatten", "--minify", "--output=json"))
    [cluster], [user] = found["clusters"], found["users"]
    authority = base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode()
    return str(cluster["cluster"]["server"]), ssl.create_default_context(cadata=authority), user["user"]["token"]


def peak_memory(pid: int) -> float:
    """Returns the largest resident set that the process has had, in MiB."""
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) / 1024
