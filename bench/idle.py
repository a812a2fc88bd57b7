"""What the operator costs while nothing happens: its API writes, its memory and its CPU time, on a running cluster.

    PYTHONPATH=tests python3 bench/idle.py [--name CLUSTER] [--seconds 600]

The cluster is one of tests/cluster's with Tunecast in it, such as the one that `make demo` leaves: its API server's
audit log counts the writes. Touch nothing on it meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import time

from harness import deploy
from harness.kubectl import Kubectl
from harness.usage import Usage, operator_usage

MEMORY, SHARE = 150.0, 0.01  # what is promised: MiB, and of a core


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", help="the cluster; this checkout's, where it isn't given")
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    environment = deploy.cluster_environment(*(["--name", options.name] if options.name else []))
    kubectl = Kubectl(environment)
    before, started = operator_usage(kubectl, environment), time.monotonic()
    time.sleep(options.seconds)
    after, seconds = operator_usage(kubectl, environment), time.monotonic() - started
    return show(before, after, seconds)


def show(before: Usage, after: Usage, seconds: float) -> int:
    """Prints the table; 1 where a promise isn't kept."""
    writes, memory = after.writes - before.writes, max(before.memory, after.memory)
    share = (after.cpu - before.cpu) / seconds
    print(f"{seconds:.0f} s; {before.writes} writes were made before")
    print("            measured  promised")
    print(f"API writes  {writes:8}         0")
    print(f"memory      {memory:4.0f} MiB  <{MEMORY:4.0f} MiB")
    print(f"CPU         {share:7.2%}  < {SHARE:6.0%}  of a core")
    return int(writes > 0 or memory >= MEMORY or share >= SHARE)


if __name__ == "__main__":
    sys.exit(main())
