"""Measures the idle operator on a running cluster: its API writes, its memory and its CPU time.

    PYTHONPATH=tests python3 bench/idle.py [--name CLUSTER] [--seconds 600]

The cluster is a cluster of tests/cluster with Tunecast installed, such as the one that `make demo` leaves running. Its
API server's audit log counts the writes. Do not use the cluster while this program measures.
"""

from __future__ import annotations

import argparse
import sys
import time

from harness import deploy
from harness.kubectl import Kubectl
from harness.usage import Usage, operator_usage

MEMORY, SHARE = 150.0, 0.01  # the promised limits: MiB, and a share of one core


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", help="name of the cluster (default: this checkout's)")
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    environment = deploy.cluster_environment(*(["--name", options.name] if options.name else []))
    kubectl = Kubectl(environment)
    before, started = operator_usage(kubectl, environment), time.monotonic()
    time.sleep(options.seconds)
    after, seconds = operator_usage(kubectl, environment), time.monotonic() - started
    return show(before, after, seconds)


def show(before: Usage, after: Usage, seconds: float) -> int:
    """Prints the table; returns 1 if a promise is broken."""
    writes, memory = after.writes - before.writes, max(before.memory, after.memory)
    share = (after.cpu - before.cpu) / seconds
    print(f"{seconds:.0f} s; {before.writes} writes before the measurement")
    print("            measured  promised")
    print(f"API writes  {writes:8}         0")
    print(f"memory      {memory:4.0f} MiB  <{MEMORY:4.0f} MiB")
    print(f"CPU         {share:7.2%}  < {SHARE:6.0%}  of a core")
    return int(writes > 0 or memory >= MEMORY or share >= SHARE)


if __name__ == "__main__":
    sys.exit(main())
