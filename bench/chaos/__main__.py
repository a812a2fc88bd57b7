"""Seeded rounds of disasters on a whole cluster: kubelet, containerd, API server, S3 and operator killed, a full disk.

    PYTHONPATH=bench:core:initcontainer:operator:tests:tests/cluster python -m chaos [--rounds 30] [--seed 1]

Brings a cluster of its own up, and down again. Ends with 1 where an invariant broke; ``--only SEED`` repeats one round.
The engine is the tests' stand-in, so that a tuning takes seconds; all else is real.
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
            told(results[-1])
    return summary(results, time.monotonic() - started)


def told(result: Round) -> None:
    verdict = "; ".join(result.broken) or "whole"
    did = ", ".join(result.done)
    print(f"seed {result.seed}: {did} after {result.recovery_seconds:.1f} s: {verdict}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
