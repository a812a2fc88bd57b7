"""Seeded rounds of disasters on a whole cluster: kubelet, containerd, API server, S3 and operator killed, a full disk.

    PYTHONPATH=bench:cache:initcontainer:operator:tests:tests/cluster python -m chaos [--rounds 30] [--seed 1]

Brings a cluster of its own up, and down again. Ends with 1 where an invariant broke; ``--only SEED`` repeats one round.
The engine is the tests' stand-in, so that a tuning takes seconds; all else is real.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import time

from chaos.play import Round, play
from chaos.world import world


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each later one adds one")
    parser.add_argument("--only", type=int, help="one round alone")
    arguments = parser.parse_args()
    seeds = [arguments.only] if arguments.only is not None else range(arguments.seed, arguments.seed + arguments.rounds)
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster goes down
    with world() as found:
        results = []
        for seed in seeds:
            results.append(play(found, seed))
            told(results[-1])
    return summary(results, time.monotonic() - started)


def told(result: Round) -> None:
    verdict = "; ".join(result.broken) or "whole"
    did = ", ".join(result.done)
    print(f"seed {result.seed}: {did} -> {result.ended} after {result.recovery_seconds:.1f} s: {verdict}", flush=True)


def summary(results: list[Round], seconds: float) -> int:
    recovery = {result.recovery_seconds: result.seed for result in results}
    broken = [result for result in results if result.broken]
    slowest = max(recovery)
    print(
        f"{len(results)} rounds in {seconds:.0f} s, {len(results) - len(broken)} converged with every invariant whole;"
        f" recovery: median {statistics.median(recovery):.1f} s, slowest {slowest:.1f} s (seed {recovery[slowest]})"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
