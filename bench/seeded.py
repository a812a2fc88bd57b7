"""What benches of seeded rounds share: which seeds, and what came of them."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

from support.rounds import Round


def seeds(description: str | None, rounds: int) -> Sequence[int]:
    """As the command line says; ``rounds`` of them where it doesn't."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each later one adds one")
    parser.add_argument("--only", type=int, help="one round alone")
    options = parser.parse_args()
    return [options.only] if options.only is not None else range(options.seed, options.seed + options.rounds)


def summary(results: Sequence[Round], seconds: float) -> int:
    """Prints it; 1 where an invariant broke."""
    recovery = {result.recovery_seconds: result.seed for result in results}
    broken = [result for result in results if result.broken]
    slowest = max(recovery)
    print(
        f"{len(results)} rounds in {seconds:.0f} s, {len(results) - len(broken)} converged with every invariant whole;"
        f" recovery: median {statistics.median(recovery):.1f} s, slowest {slowest:.1f} s (seed {recovery[slowest]})"
    )
    return 1 if broken else 0
