"""Measures the operator's writes at the API server, its memory and its CPU time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.deploy import SYSTEM_NAMESPACE
from harness.kubectl import Kubectl

USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:tunecast"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
READ_PROC = """
import os
s = open('/proc/1/stat').read().rsplit(')', 1)[1].split()
print(int(open('/proc/1/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20,
      (int(s[11]) + int(s[12])) / os.sysconf('SC_CLK_TCK'))
"""


@dataclass(frozen=True)
class Usage:
    """What a running operator has used so far."""

    writes: int  # counted in the API server's audit log
    memory: float  # MiB resident
    cpu: float  # seconds


def operator_usage(kubectl: Kubectl, environment: dict[str, str]) -> Usage:
    where = ("-n", SYSTEM_NAMESPACE, "deployment/tunecast")
    memory, cpu = kubectl("exec", *where, "--", "/opt/venv/bin/python", "-c", READ_PROC).split()
    return Usage(writes_in(Path(environment["TUNECAST_AUDIT_LOG"])), float(memory), float(cpu))


def writes_in(audit_log: Path) -> int:
    """Counts the operator's writes in an audit log."""
    with audit_log.open() as log:
        entries = (json.loads(line) for line in log if USER in line)
        return sum(entry["verb"] in WRITES and entry["user"]["username"] == USER for entry in entries)
