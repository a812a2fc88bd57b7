"""Nobody waits for a dead rank: every rank beats each second, and a silent one ends the attempt on all others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tunecast_core.records import job
from tunecast_core.records.codec import canonical, decode
from tunecast_tuner.rank.attempt import Attempt
from tunecast_tuner.rank.failures import AttemptError

PERIOD = 1.0  # seconds between two beats


class SharedStore(Protocol):
    """What is used of torch.distributed's TCPStore."""

    def set(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> bytes: ...
    def check(self, keys: list[str]) -> bool: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """What a failing rank leaves in the store for the others."""

    reason: str
    message: str
    lost_rank: int | None = None


@dataclass
class Ledger:
    """When each rank was last heard of, on this rank's clock."""

    silence: float
    _beats: dict[int, tuple[bytes, float]] = field(default_factory=dict)

    def saw(self, rank: int, beat: bytes, now: float) -> None:
        """A beat counts when it differs from the one before: clocks of two hosts are never compared."""
        if rank not in self._beats or self._beats[rank][0] != beat:
            self._beats[rank] = (beat, now)

    def forget(self, rank: int) -> None:
        """It left in good order."""
        self._beats.pop(rank, None)

    def lost(self, now: float) -> int | None:
        """The lowest rank that was heard of once and is silent for too long."""
        return next((rank for rank, (_, at) in sorted(self._beats.items()) if now - at > self.silence), None)


def adopted(rank: int, ending: Ending) -> AttemptError:
    """What ``rank``'s own ending means on another rank: the first cause is passed on as it is."""
    if ending.reason == job.PEER_LOST and ending.lost_rank is not None:
        return AttemptError(job.PEER_LOST, ending.message, ending.lost_rank)
    return AttemptError(job.PEER_LOST, f"rank {rank} ended: {ending.reason}: {ending.message}", rank)


class Heartbeat:
    """Two threads: one talks to the store and may get stuck there; the other judges by what was heard."""

    def __init__(
        self,
        *,
        rank: int,
        world_size: int,
        store: SharedStore,
        attempt: Attempt,
        silence: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rank = rank
        self._others = [other for other in range(world_size) if other != rank]
        self._store = store
        self._attempt = attempt
        self._ledger = Ledger(silence)
        self._clock = clock
        self._round = clock()  # when the store last answered
        self._stopped = threading.Event()

    def start(self) -> None:
        for body in (self._talk, self._judge):
            threading.Thread(target=body, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _talk(self) -> None:
        beat = 0
        while not self._stopped.is_set():
            try:
                self._exchange(beat)
            except Exception as error:  # noqa: BLE001 - torch raises several kinds; all mean that rank 0's store is gone
                if not self._stopped.is_set():
                    first_line = str(error).partition("\n")[0]
                    self._attempt.end(AttemptError(job.PEER_LOST, f"the connection to rank 0 broke: {first_line}", 0))
                return
            beat += 1
            self._stopped.wait(PERIOD)

    def _exchange(self, beat: int) -> None:
        self._store.set(f"beat/{self._rank}", str(beat))
        for rank in self._others:
            if self._store.check([f"ending/{rank}"]):
                ending = decode(Ending, self._store.get(f"ending/{rank}"), f"rank {rank}'s ending")
                self._attempt.end(adopted(rank, ending))
            if self._store.check([f"left/{rank}"]):
                self._ledger.forget(rank)
            elif self._store.check([f"beat/{rank}"]):
                self._ledger.saw(rank, self._store.get(f"beat/{rank}"), self._clock())
        self._round = self._clock()

    def _judge(self) -> None:
        while not self._stopped.wait(PERIOD / 4):
            now, silence = self._clock(), self._ledger.silence
            if now - self._round > silence:
                self._attempt.end(AttemptError(job.PEER_LOST, f"rank 0 did not answer for {silence:g} s", 0))
            elif (rank := self._ledger.lost(now)) is not None:
                self._attempt.end(AttemptError(job.PEER_LOST, f"rank {rank} was silent for {silence:g} s", rank))


def announce(store: SharedStore, rank: int, failure: AttemptError) -> None:
    """Tells the other ranks why this one ends."""
    ending = Ending(failure.reason, failure.message[:2000], failure.lost_rank)
    store.set(f"ending/{rank}", canonical(ending).decode())
