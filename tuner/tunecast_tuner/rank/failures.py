"""The error that ends an attempt."""

from __future__ import annotations

from tunecast_core.errors import TunecastError


class AttemptError(TunecastError):
    """Ends the attempt on this rank.

    Attributes:
        reason: one of the reasons in ``tunecast_core.records.job``.
        lost_rank: the rank that was lost, only with ``PEER_LOST``.
    """

    def __init__(self, reason: str, message: str, lost_rank: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.lost_rank = lost_rank
