"""Reads untrusted archives in bounded memory, and no further than their index allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tunecast_core.bundle.archive import END, Entry, inflate
from tunecast_core.bundle.hashing import exhaust
from tunecast_core.bundle.index import Index, hostile, read_index
from tunecast_core.bundle.stream import Stream, ahead
from tunecast_core.errors import UnsafeArchiveError
from tunecast_core.records.manifest import Archive


def inspect(chunks: Iterable[bytes], expected: Archive) -> None:
    """Reads a whole archive with the checks of ``pack.install``, and discards its content.

    Raises:
        UnsafeArchiveError: the archive doesn't match its index or ``expected``.
        MalformedError: the archive is broken.
    """
    stream = Stream(chunks)
    index = read_index(stream, expected)
    with files(stream, index, expected.layer) as found:
        for _, pieces in found:
            exhaust(pieces)


@contextmanager
def files(stream: Stream, index: Index, layer: str) -> Iterator[Iterator[tuple[Entry, Iterator[memoryview]]]]:
    """Returns each file with its bytes, which the caller reads before it continues to the next file.

    Raises:
        UnsafeArchiveError: the archive doesn't match its index.
        MalformedError: the archive is broken.
    """
    with hostile(layer), ahead(inflate, (stream.read(size) for size in index.members)) as chunks:
        yield _files(Stream(chunks), stream, index, layer)


def _files(tar: Stream, stream: Stream, index: Index, layer: str) -> Iterator[tuple[Entry, Iterator[memoryview]]]:
    for entry in index.entries:
        header = entry.header()
        if tar.read(len(header)) != header:
            raise UnsafeArchiveError(
                f"the archive of layer {layer} holds something else where {entry.path!r} should be"
            )
        yield entry, tar.pieces(entry.size)
        tar.read(entry.padding)
    if tar.read(len(END)) != END or not tar.ended or not stream.ended:
        raise UnsafeArchiveError(f"the archive of layer {layer} holds more than its index lists")
