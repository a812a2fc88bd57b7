"""The format of an archive: a ``.tar.gz`` that any tar can list, with an index in front for a fast and exact reader.

    gzip member 0    a tar member named INDEX, JSON: {"files": [[path, size, mtime ns, executable], ...],
                     "members": [compressed bytes, ...]}
    gzip member 1..  the tar members of those files and tar's end, cut every CUT bytes: inflating goes ahead of writing

A reader believes the index alone. It makes every tar header anew from the index and compares the bytes, so an archive
can hold no links, no devices, no owners, no other modes: there is no way to say them.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from tunecast_cache import tar
from tunecast_cache.errors import MalformedError, UnsafeArchiveError

INDEX = ".tunecast-index.json"
CUT = 4 * 2**20  # bytes of the tar in one gzip member: enough to compress well, few enough to hold several in memory
END = bytes(1024)
_LONGEST_PATH = 3000  # bytes: below PATH_MAX with any mount path in front
_LONGEST_NAME = 255
_BYTES_PER_FILE = _LONGEST_PATH + 100  # of the index, at the most
_LARGEST_INDEX = 16 * 2**20  # of a hundred thousand files; an init container has memory for that
_GZIP = 31  # zlib's wbits for gzip
_BIGGEST = 2**62


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive."""

    path: str  # relative to the mount path, POSIX
    size: int
    mtime_ns: int
    executable: bool

    def header(self) -> bytes:
        """The tar header, a whole number of blocks."""
        return tar.header(self.path, self.size, executable=self.executable)

    @property
    def padding(self) -> int:
        """Bytes that fill the last block."""
        return tar.padding(self.size)


@dataclass(frozen=True, slots=True)
class Index:
    """What an archive holds, and where."""

    entries: tuple[Entry, ...]
    members: tuple[tuple[int, int], ...]  # offset and compressed bytes of gzip members 1 and up


def sound(path: str) -> bool:
    """Whether ``path`` names one place below any root, on every machine, and can be shown in a message."""
    names = path.split("/")
    return (
        path.isprintable()
        and len(path.encode()) <= _LONGEST_PATH
        and all(name not in {"", ".", ".."} and len(name.encode()) <= _LONGEST_NAME for name in names)
    )


def deflate(data: bytes) -> bytes:
    """One gzip member; the level is measured: 6 is 6% smaller than 3, and inflates as fast."""
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()


def inflate(data: bytes, limit: int = CUT) -> bytes:
    """The bytes of one gzip member; raises ValueError where they are more than ``limit``, and stops there."""
    unpacker = zlib.decompressobj(_GZIP)
    found = unpacker.decompress(data, limit)
    if not unpacker.eof and (unpacker.decompress(unpacker.unconsumed_tail, 1) or not unpacker.eof):
        raise ValueError(f"a gzip member is cut short or holds more than {limit} bytes")
    return found


def encode_index(entries: Iterable[Entry], members: Iterable[int]) -> bytes:
    """Gzip member 0, for files and the compressed bytes of the members that follow."""
    files = [[e.path, e.size, e.mtime_ns, e.executable] for e in entries]
    data = json.dumps({"files": files, "members": [*members]}, separators=(",", ":"), ensure_ascii=False).encode()
    entry = Entry(INDEX, len(data), 0, executable=False)
    return deflate(entry.header() + data + bytes(entry.padding))


@contextmanager
def hostile(name: str) -> Iterator[None]:
    """Turns what the standard library raises on broken archives into MalformedError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise MalformedError(f"the archive of layer {name} is broken: {error}") from error
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise MalformedError(f"the archive of layer {name} has no index that can be read: {error}") from error


def read_index(raw: BinaryIO, layer: str, files: int) -> Index:
    """Reads where everything is; ``files`` is how many the archive may hold.

    Raises:
        MalformedError: it is no archive, or not a whole one.
        UnsafeArchiveError: its index is larger than that of so many files can be.
    """
    with hostile(layer):
        index = json.loads(_index_bytes(raw, layer, files))
        sizes = [_natural(size) for size in index["members"]]
        first = _natural(raw.seek(0, io.SEEK_END) - sum(sizes))
        offsets = [first, *(first + total for total in itertools.accumulate(sizes))]
        return Index(tuple(_entry(row) for row in index["files"]), tuple(zip(offsets, sizes, strict=False)))


def _index_bytes(raw: BinaryIO, layer: str, files: int) -> bytes:
    limit = min(1024 + files * _BYTES_PER_FILE, _LARGEST_INDEX)
    with gzip.GzipFile(fileobj=raw) as stream:
        header = tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "strict")
        if header.name != INDEX:
            raise MalformedError(f"the archive of layer {layer} doesn't start with {INDEX}")
        if not 0 <= header.size <= limit:
            raise UnsafeArchiveError(
                f"the archive of layer {layer} has an index of {header.size} bytes for {files} files"
            )
        return stream.read(header.size)


def _entry(row: Any) -> Entry:
    path, size, mtime_ns, executable = row
    if not isinstance(path, str) or not isinstance(executable, bool) or type(mtime_ns) is not int:
        raise TypeError("a file's path, modification time or executable bit is of another type")
    if abs(mtime_ns) > _BIGGEST:
        raise ValueError(f"no file has the modification time {mtime_ns} ns")
    return Entry(path, _natural(size), mtime_ns, executable)


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _BIGGEST:
        raise ValueError(f"{value!r} is no size")
    return value
