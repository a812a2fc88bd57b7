"""Broadcasts files over torch.distributed in chunks: in bounded memory, without pickle, in parallel to the disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

from tunecast_core.records import job
from tunecast_tuner.rank.failures import AttemptError

CHUNK = 8 * 2**20  # bytes of one broadcast; see bench/broadcast.py
DEPTH = 3  # chunks in flight: one is read, one is sent, one is written


def send(torch: Any, file: BinaryIO, size: int, chunk: int = CHUNK) -> None:
    """Broadcasts ``size`` bytes of ``file`` from rank 0. The next chunk is read while earlier ones are sent."""
    buffers, flying = _buffers(torch, min(chunk, size)), deque[Any]()
    for number, length in enumerate(chunk_lengths(size, chunk)):
        view, tensor = buffers[number % DEPTH]
        if len(flying) == DEPTH:
            flying.popleft().wait()
        if _read_full(file, view[:length]) != length:
            raise AttemptError(job.INTERNAL, f"{file.name} became shorter than its {size} bytes while it was sent")
        flying.append(torch.distributed.broadcast(tensor[:length], src=0, async_op=True))
    for work in flying:
        work.wait()


def receive(torch: Any, file: BinaryIO, size: int, chunk: int = CHUNK) -> None:
    """Receives ``size`` bytes of a broadcast on a peer. A chunk is written while later ones are received."""
    buffers, flying = _buffers(torch, min(chunk, size)), deque[tuple[Any, memoryview]]()
    for number, length in enumerate(chunk_lengths(size, chunk)):
        view, tensor = buffers[number % DEPTH]
        if len(flying) == DEPTH:
            _write(file, *flying.popleft())
        flying.append((torch.distributed.broadcast(tensor[:length], src=0, async_op=True), view[:length]))
    for item in flying:
        _write(file, *item)


def chunk_lengths(size: int, chunk: int) -> Iterator[int]:
    """Returns the lengths of the chunks of ``size`` bytes."""
    for start in range(0, size, chunk):
        yield min(chunk, size - start)


def _buffers(torch: Any, length: int) -> list[tuple[memoryview, Any]]:
    """Allocates buffers, each as a view of bytes and as a uint8 tensor of shape (length,), without numpy."""
    arrays = [bytearray(length) for _ in range(DEPTH if length else 0)]
    return [(memoryview(array), torch.frombuffer(array, dtype=torch.uint8)) for array in arrays]


def _write(file: BinaryIO, work: Any, view: memoryview) -> None:
    work.wait()
    file.write(view)


def _read_full(file: BinaryIO, view: memoryview) -> int:
    done = 0
    while done < len(view) and (count := file.readinto(view[done:])):  # type: ignore[attr-defined]
        done += count
    return done
