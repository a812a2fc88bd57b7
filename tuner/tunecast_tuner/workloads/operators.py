"""The place of the operators workload: FlashInfer's operators at the model's shapes, without an engine."""

from __future__ import annotations

from tunecast_cache import job
from tunecast_tuner.context import Context
from tunecast_tuner.failures import AttemptError
from tunecast_tuner.ranks import Ranks


def run(context: Context, ranks: Ranks) -> job.RankResult:
    """Raises AttemptError (BAD_SETTINGS): no retry makes it exist."""
    raise AttemptError(
        job.BAD_SETTINGS,
        f"rank {ranks.rank} of {context.settings.job}: tuning.workload Operators is not in this release: use Engine",
    )
