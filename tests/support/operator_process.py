"""Runs the whole operator as a separate process that watches a real API server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.deploy import ROOT
from tunecast_core.trust.settings import StoreSettings

# This does what the operator's main does, except for the one port that has no setting.
PROGRAM = """
import os
from tunecast_operator.__main__ import run, store
from tunecast_operator.runtime.logs import log_at
from tunecast_operator.runtime.cluster import connect
from tunecast_operator.runtime.installation import from_environment

installation = from_environment(os.environ)
log_at("INFO")
run(installation, connect(2 * installation.workers), store(installation), int(os.environ["LIVENESS_PORT"]))
"""


def environment(
    kubeconfig: str, namespace: str, settings: StoreSettings, credentials: Mapping[str, str]
) -> dict[str, str]:
    """Returns the chart's variables for an operator of ``namespace``, and a kubeconfig to connect with."""
    return {
        **credentials,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("operator", "core")),
        "KUBECONFIG": kubeconfig,
        "TUNECAST_NAMESPACE": namespace,
        "TUNECAST_WATCH_NAMESPACES": namespace,
        "TUNECAST_BUCKET": settings.bucket,
        "TUNECAST_PREFIX": settings.prefix,
        "TUNECAST_ENDPOINT": settings.endpoint or "",
        "TUNECAST_INIT_IMAGE": "init:1",
        "TUNECAST_METRICS_PORT": str(free_port()),
        "LIVENESS_PORT": str(free_port()),
    }


@contextmanager
def operator(
    variables: Mapping[str, str], folder: Path, prefix: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the operator, which logs to ``folder``, until the block ends. ``prefix`` is a command that runs another."""
    command = [*prefix, sys.executable, "-c", PROGRAM]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=variables, stdout=log, stderr=log) as it:
        try:
            yield it
        finally:
            it.terminate()
            it.wait(40)


def answers(url: str) -> bool:
    """Returns whether a probe of the kubelet would succeed."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except urllib.error.URLError:
        return False


def free_port() -> int:
    """Returns a port that no process listens on."""
    with socket.socket(socket.AF_INET6) as listener:  # IPv4 and IPv6
        listener.bind(("::", 0))
        return int(listener.getsockname()[1])
