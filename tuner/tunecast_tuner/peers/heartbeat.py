"""Heartbeats, so that no rank waits for a dead one: each rank beats every second, and silence ends the attempt."""

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
    """The methods of torch.distributed's TCPStore that are used."""

    def set(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> bytes: ...
    def check(self, keys: list[str]) -> bool: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """The record of a failed rank for the other ranks."""

    reason: str
    message: str
    lost_rank: int | None = None


@dataclass
class Ledger:
    """The time of each rank's last heartbeat, by this rank's clock."""

    silence: float
    _beats: dict[int, tuple[bytes, float]] = field(default_factory=dict)

    def saw(self, rank: int, beat: bytes, now: float) -> None:
        """Records a beat if it differs from the previous one. Clocks of two hosts are never compared."""
        if rank not in self._beats or self._beats[rank][0] != beat:
            self._beats[rank] = (beat, now)

    def forget(self, rank: int) -> None:
        """Removes a rank that left without a failure."""
        self._beats.pop(rank, None)

    def lost(self, now: float) -> int | None:
        """Returns the lowest rank that has sent a beat and is silent for too long, or None."""
        return next((rank for rank, (_, at) in sorted(self._beats.items()) if now - at > self.silence), None)


def adopted(rank: int, ending: Ending) -> AttemptError:
    """Returns the failure that the ending of ``rank`` means for other ranks. The first cause is passed on unchanged."""
    if ending.reason == job.PEER_LOST and ending.lost_rank is not None:
        return AttemptError(job.PEER_LOST, ending.message, ending.lost_rank)
    return AttemptError(job.PEER_LOST, f"rank {rank} ended: {ending.reason}: {ending.message}", rank)


class Heartbeat:
    """Runs two threads: one exchanges beats through the store and may block there, the other looks for silent ranks."""

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
        for body in (self._beat, self._watch):
            threading.Thread(target=body, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _beat(self) -> None:
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

    def _watch(self) -> None:
        while not self._stopped.wait(PERIOD / 4):
            now, silence = self._clock(), self._ledger.silence
            if now - self._round > silence:
                self._attempt.end(AttemptError(job.PEER_LOST, f"rank 0 did not answer for {silence:g} s", 0))
            elif (rank := self._ledger.lost(now)) is not None:
                self._attempt.end(AttemptError(job.PEER_LOST, f"rank {rank} was silent for {silence:g} s", rank))


def announce(store: SharedStore, rank: int, failure: AttemptError) -> None:
    """Records for the other ranks why this one ends."""
    ending = Ending(failure.reason, failure.message[:2000], failure.lost_rank)
    store.set(f"ending/{rank}", canonical(ending).decode())
