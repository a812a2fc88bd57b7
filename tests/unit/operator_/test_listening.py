"""Liveness and metrics are served on IPv4 and on IPv6."""

from __future__ import annotations

import asyncio
import socket
import urllib.error
import urllib.request
from datetime import datetime, timezone

import pytest

from tunecast_operator.runtime.listening import any_address, health, serve_metrics
from tunecast_operator.runtime.metrics import Metrics

LOOPBACKS = ["127.0.0.1", "[::1]"]


def free_port() -> int:
    with socket.socket(socket.AF_INET6) as listener:  # IPv4 and IPv6
        listener.bind(("::", 0))
        return int(listener.getsockname()[1])


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        text: bytes = response.read()
    return text.decode()


@pytest.mark.parametrize("host", LOOPBACKS)
def test_liveness_answers_on_both_families(host: str) -> None:
    async def ask(port: int) -> str:
        async with health(port):
            return await asyncio.to_thread(get, f"http://{host}:{port}/healthz")

    assert asyncio.run(ask(free_port())) == "ok\n"


def test_the_operator_is_ready_only_once_it_watches() -> None:
    async def ask(port: int) -> tuple[int, str]:
        async with health(port) as state:
            with pytest.raises(urllib.error.HTTPError) as refused:
                await asyncio.to_thread(get, f"http://127.0.0.1:{port}/readyz")
            refused.value.close()
            state.ready = True
            return refused.value.code, await asyncio.to_thread(get, f"http://127.0.0.1:{port}/readyz")

    assert asyncio.run(ask(free_port())) == (503, "ok\n")


@pytest.mark.parametrize("host", LOOPBACKS)
def test_metrics_answer_on_both_families(host: str) -> None:
    port = free_port()
    stop = serve_metrics(Metrics(datetime.now(timezone.utc)).registry, port)
    try:
        assert "tunecast_queue_length" in get(f"http://{host}:{port}/metrics")
    finally:
        stop()


def test_a_host_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert any_address() == "0.0.0.0"
