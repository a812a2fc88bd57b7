"""The group of ranks of one attempt, which exchange small records over rank 0's TCPStore and files over gloo.

Only this module imports torch, and only if there are peers.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from tunecast_core.records import job
from tunecast_core.records.codec import canonical, decode
from tunecast_core.records.seal import seal, unseal
from tunecast_tuner.peers import transfer
from tunecast_tuner.peers.heartbeat import Heartbeat, announce
from tunecast_tuner.rank.attempt import Attempt
from tunecast_tuner.rank.failures import AttemptError

T = TypeVar("T")
RECORD_LIMIT = 2**20
CONNECT_SECONDS = 30.0
CHUNK_SECONDS = 300.0  # longer than any chunk takes; ends failures without silence, such as addresses without a route
LIKELY_CAUSE = "a NetworkPolicy or a service mesh may drop traffic between them: allow it between pods of one Job"
LINGER_SECONDS = 3.0  # time that rank 0 keeps the store, so that the other ranks can read how it ended


class SealedStore:
    """torch.distributed's TCPStore with sealed values, because every client that reaches its port can write to it."""

    def __init__(self, store: Any, token: str) -> None:
        self.open, self._token = store, token

    def set(self, key: str, value: str) -> None:
        self.open.set(key, seal(self._token, key, value.encode()).decode())

    def get(self, key: str) -> bytes:
        """Returns a value. Raises MalformedError unless a rank of this attempt wrote it."""
        return unseal(self._token, key, self.open.get(key))

    def check(self, keys: list[str]) -> bool:
        return bool(self.open.check(keys))


class Ranks:
    """A single rank without peers. ``Group`` implements several ranks."""

    rank = 0
    world_size = 1
    chunk = transfer.CHUNK  # bytes of one broadcast

    @property
    def peers(self) -> range:
        """The ranks that rank 0 leads."""
        return range(1, self.world_size)

    def publish(self, name: str, value: Any) -> None:
        """Publishes a record of at most a megabyte for the other ranks."""

    def collect(self, name: str, rank: int, kind: type[T]) -> T:
        """Waits for a record of ``rank`` and returns it."""
        raise NotImplementedError(f"a single rank waits for {name} of rank {rank}, a {kind.__name__}")

    def send(self, paths: Sequence[Path]) -> None:
        """Broadcasts files from rank 0."""

    def receive(self, files: Sequence[tuple[Path, int]]) -> None:
        """Receives files of a broadcast on a peer, given the path and the size in bytes of each."""

    def leave(self, failure: AttemptError | None) -> None:
        """Leaves the group, and announces a failure to the other ranks."""


class Joining:
    """The progress of a rank's joining, from which the message of a time-out is built."""

    def __init__(self, settings: job.JobSettings, rank: int) -> None:
        self._settings, self._rank = settings, rank
        self.reached = rank == 0  # rank 0 serves the store
        self.missing = set(range(settings.world_size))

    def failure(self) -> AttemptError:
        """Returns the error that names the ranks that did not join, and the likely cause."""
        place = f"{self._settings.rendezvous_host}:{self._settings.rendezvous_port}"
        within = f"within {self._settings.join_seconds:.0f} s"
        if self.reached:
            ranks = ", ".join(map(str, sorted(self.missing - {self._rank})))
            what = f"rank {self._rank} waits for rank {ranks}, which did not join at {place} {within}"
        else:
            what = f"rank {self._rank} could not reach rank 0 at {place} {within}"
        return AttemptError(job.JOIN_TIMED_OUT, f"{what}: if all ranks run, {LIKELY_CAUSE}")


class Group(Ranks):
    """Several ranks. Calls that may block run in another thread, while the main thread watches the attempt."""

    def __init__(self, settings: job.JobSettings, rank: int, attempt: Attempt, silence: float) -> None:
        """Connects and starts the heartbeat.

        Raises:
            AttemptError: the attempt ended first.
        """
        self.rank = rank
        self.world_size = settings.world_size
        self._attempt = attempt
        self._silence = silence
        self._store = attempt.run(lambda: self._connect(settings, is_master=rank == 0))
        heart_store = attempt.run(lambda: self._connect(settings, is_master=False))
        self._heartbeat = Heartbeat(
            rank=rank, world_size=self.world_size, store=heart_store, attempt=attempt, silence=silence
        )
        self._heartbeat.start()
        self._gloo: Any = None

    def gather(self, joining: Joining) -> None:
        """Waits until all ranks have joined."""
        joining.reached = True
        self.publish("joined", {})
        for other in range(self.world_size):
            self.collect("joined", other, dict)
            joining.missing.discard(other)

    def publish(self, name: str, value: Any) -> None:
        data = canonical(value).decode()
        self._watched(lambda: self._store.set(f"{name}/{self.rank}", data))

    def collect(self, name: str, rank: int, kind: type[T]) -> T:
        key = f"{name}/{rank}"
        self._attempt.until(lambda: bool(self._watched(lambda: self._store.check([key]))), every=0.25)
        return decode(kind, self._watched(lambda: self._store.get(key)), f"{name} of rank {rank}", RECORD_LIMIT)

    def send(self, paths: Sequence[Path]) -> None:
        def work() -> None:
            torch = self._join_gloo()
            for path in paths:
                with path.open("rb") as file:
                    transfer.send(torch, file, path.stat().st_size, self.chunk)

        self._watched(work)

    def receive(self, files: Sequence[tuple[Path, int]]) -> None:
        def work() -> None:
            torch = self._join_gloo()
            for path, size in files:
                with path.open("wb") as file:
                    transfer.receive(torch, file, size, self.chunk)

        self._watched(work)

    def leave(self, failure: AttemptError | None) -> None:
        """Leaves the group. Never raises, because the rank has its result already."""
        farewell = Attempt(LINGER_SECONDS)
        lost = failure.lost_rank if failure else None
        if lost != 0 or self.rank == 0:
            try:
                farewell.run(lambda: self._farewell(failure))
                if self.rank == 0:
                    others = [f"left/{rank}" for rank in self.peers if rank != lost]
                    farewell.until(lambda: not others or farewell.run(lambda: bool(self._store.check(others))))
            except (AttemptError, RuntimeError):
                pass  # the other ranks detect the silence
        self._heartbeat.stop()

    def _farewell(self, failure: AttemptError | None) -> None:
        if failure:
            announce(self._store, self.rank, failure)
        self._store.set(f"left/{self.rank}", "")

    def _watched(self, work: Callable[[], T]) -> T:
        try:
            return self._attempt.run(work)
        except RuntimeError as error:
            # The heartbeat finds the cause of a broken connection within its silence, and ends the attempt with it.
            self._attempt.sleep(self._silence + 2)
            raise AttemptError(
                job.INTERNAL, f"torch.distributed failed although all ranks are alive: {error}"
            ) from error

    def _connect(self, settings: job.JobSettings, *, is_master: bool) -> SealedStore:
        from torch.distributed import TCPStore  # noqa: PLC0415

        host = "localhost" if self.rank == 0 else settings.rendezvous_host
        if not is_master:
            self._attempt.until(lambda: _listens(host, settings.rendezvous_port), every=0.25)
        timeout = timedelta(seconds=CONNECT_SECONDS)
        store = TCPStore(host, settings.rendezvous_port, None, is_master, timeout, wait_for_workers=False)
        return SealedStore(store, settings.token)

    def _join_gloo(self) -> Any:
        """Joins the gloo group at the first broadcast, because networks drop connections that idle for minutes."""
        if self._gloo is None:
            import torch  # noqa: PLC0415
            from torch import distributed  # noqa: PLC0415

            store = distributed.PrefixStore("gloo", self._store.open)
            timeout = timedelta(seconds=CHUNK_SECONDS)
            distributed.init_process_group(
                "gloo", store=store, rank=self.rank, world_size=self.world_size, timeout=timeout
            )
            self._gloo = torch
        return self._gloo


@contextmanager
def join(settings: job.JobSettings, rank: int, attempt: Attempt, silence: float) -> Iterator[Ranks]:
    """Joins the ranks of the attempt for the block, and leaves them with the reason of a failure, if any."""
    if settings.world_size == 1:
        yield Ranks()
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no stack traces for peers that have not started yet
    joining = Joining(settings, rank)
    with attempt.within(settings.join_seconds, joining.failure):
        ranks = Group(settings, rank, attempt, silence)
    left = max(0.0, settings.join_seconds - attempt.elapsed)
    try:
        with attempt.within(left, joining.failure):
            ranks.gather(joining)
        yield ranks
    except AttemptError as failure:
        ranks.leave(failure)
        raise
    except Exception as error:
        ranks.leave(AttemptError(job.INTERNAL, f"{type(error).__name__}: {error}"))
        raise
    ranks.leave(None)


def _listens(host: str, port: int) -> bool:
    """Whether rank 0 accepts connections. Its name may not resolve yet, and rank 0 may start after its peers."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
