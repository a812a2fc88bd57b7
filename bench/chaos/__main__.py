"""Runs seeded rounds of disasters on a whole cluster: killed components, S3 faults, a full disk, deleted objects.

    PYTHONPATH=bench:core:initcontainer:operator:tests:tests/cluster python -m chaos [--rounds 30] [--seed 1]

It starts its own cluster and stops it at the end. The exit code is 1 if an invariant broke. ``--only SEED`` repeats one
round. The engine is the tests' stand-in, so that a tuning takes seconds; everything else is real.
"""

from __future__ import annotations

import signal
import sys
import time

from chaos.play import play
from chaos.world import world
from seeded import seeds, summary
from support.rounds import Round


def main() -> int:
    chosen = seeds(__doc__, 30)
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster goes down
    with world() as found:
        results = []
        for seed in chosen:
            results.append(play(found, seed))
            print_broken(results[-1])
    return summary(results, time.monotonic() - started)


def print_broken(result: Round) -> None:
    verdict = "; ".join(result.broken) or "whole"
    did = ", ".join(result.done)
    print(f"seed {result.seed}: {did} after {result.recovery_seconds:.1f} s: {verdict}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
