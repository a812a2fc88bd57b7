"""Parses the seeds of the benches that run seeded rounds, and summarizes their results."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

from support.rounds import Round


def seeds(description: str | None, rounds: int) -> Sequence[int]:
    """Returns the seeds that the command line selects; by default there are ``rounds`` of them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first round; each later round adds one")
    parser.add_argument("--only", type=int, help="repeat only the round of this seed")
    options = parser.parse_args()
    return [options.only] if options.only is not None else range(options.seed, options.seed + options.rounds)


def summary(results: Sequence[Round], seconds: float) -> int:
    """Prints a summary of the results; returns 1 if an invariant broke."""
    recovery = {result.recovery_seconds: result.seed for result in results}
    broken = [result for result in results if result.broken]
    slowest = max(recovery)
    print(
        f"{len(results)} rounds in {seconds:.0f} s, {len(results) - len(broken)} converged and kept every invariant;"
        f" recovery: median {statistics.median(recovery):.1f} s, slowest {slowest:.1f} s (seed {recovery[slowest]})"
    )
    return 1 if broken else 0
