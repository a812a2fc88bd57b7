"""Exact numbers of bytes out of chunks of any size, in bounded memory."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from tunecast_core.bundle.archive import GZIP

_THREADS = 2  # measured: zlib keeps up with the file system, more only fight for the interpreter's lock

T = TypeVar("T")


class Stream:
    """Bytes that come in chunks. Every method raises EOFError where they end early."""

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
        """At least one byte, at most ``most``."""
        if self.ended:
            raise EOFError("it ends early")
        found, self._rest = self._rest[:most], self._rest[most:]
        return found

    def unread(self, data: bytes) -> None:
        """Puts the last bytes back, of which ``some`` returned more than its caller has a use for."""
        self._rest = memoryview(data + bytes(self._rest))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """``size`` bytes as they come."""
        while size:
            piece = self.some(size)
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        return b"".join(self.pieces(size))


class GzipMember:
    """The gzip member that a stream goes on with, inflated as far as asked."""

    def __init__(self, stream: Stream, most: int) -> None:
        """``most``: compressed bytes that are read of it, however few bytes they inflate to."""
        self._stream, self._left = stream, most
        self._unpacker = zlib.decompressobj(GZIP)

    def read(self, size: int) -> bytearray:
        """The next ``size`` bytes; EOFError where there are fewer."""
        found = bytearray()
        while len(found) < size:
            if self._unpacker.eof:
                raise EOFError("a gzip member ends early")
            found += self._unpacker.decompress(self._more(), size - len(found))
        return found

    def end(self) -> None:
        """Leaves the stream after this member; ValueError where it holds more bytes than were read."""
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
    """``map``, a few items ahead in threads: zlib runs beside the caller's file system calls, in bounded memory.

    The threads end with the context, and not when the garbage collector comes by: in a thread that is just starting,
    joining another one waits for ever.
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
