"""Reads exact numbers of bytes from chunks of any size, in bounded memory."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from tunecast_core.bundle.archive import GZIP

_THREADS = 2  # measured: zlib keeps up with the file system, and more threads only contend for the interpreter's lock

T = TypeVar("T")


class Stream:
    """Bytes that arrive in chunks. Every method raises EOFError if they end early."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    @property
    def ended(self) -> bool:
        """Whether all bytes were read."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return True
            self._rest = memoryview(chunk)
        return False

    def some(self, most: int) -> memoryview:
        """Returns at least one byte and at most ``most`` bytes."""
        if self.ended:
            raise EOFError("it ends early")
        found, self._rest = self._rest[:most], self._rest[most:]
        return found

    def unread(self, data: bytes) -> None:
        """Pushes back bytes that ``some`` returned and that the caller doesn't use."""
        self._rest = memoryview(data + bytes(self._rest))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Returns ``size`` bytes in pieces of any length."""
        while size:
            piece = self.some(size)
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        return b"".join(self.pieces(size))


class GzipMember:
    """Inflates the next gzip member of a stream on demand."""

    def __init__(self, stream: Stream, most: int) -> None:
        """``most`` limits the compressed bytes that are read."""
        self._stream, self._left = stream, most
        self._unpacker = zlib.decompressobj(GZIP)

    def read(self, size: int) -> bytearray:
        """Returns the next ``size`` bytes. Raises EOFError if there are fewer."""
        found = bytearray()
        while len(found) < size:
            if self._unpacker.eof:
                raise EOFError("a gzip member ends early")
            found += self._unpacker.decompress(self._more(), size - len(found))
        return found

    def end(self) -> None:
        """Positions the stream behind this member. Raises ValueError if the member holds unread bytes."""
        while not self._unpacker.eof:
            if self._unpacker.decompress(self._more(), 1):
                raise ValueError("a gzip member holds more than it should")
        self._stream.unread(self._unpacker.unused_data)

    def _more(self) -> bytes | memoryview:
        if self._unpacker.unconsumed_tail:
            return self._unpacker.unconsumed_tail
        if self._left <= 0:
            raise ValueError("a gzip member has more bytes than its content can need")
        found = self._stream.some(min(self._left, 2**16))
        self._left -= len(found)
        return found


@contextmanager
def ahead(work: Callable[[T], bytes], items: Iterable[T]) -> Iterator[Iterator[bytes]]:
    """Maps ``work`` over ``items`` a few items ahead in threads, so that zlib runs beside file system calls.

    The threads end with the context. If the garbage collector ended them, it could run in a thread that is just
    starting, where joining another thread never returns.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        yield _ahead(pool, work, items)


def _ahead(pool: ThreadPoolExecutor, work: Callable[[T], bytes], items: Iterable[T]) -> Iterator[bytes]:
    waiting: deque[Future[bytes]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > _THREADS:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
