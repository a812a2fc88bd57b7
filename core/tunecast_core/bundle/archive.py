"""The format of an archive: a ``.tar.gz`` that any tar program can list, with an index as its first member.

    gzip member 0    a tar member named INDEX, JSON without spaces: {"files":[[path,size,mtime ns,executable],...],
                     "members":[compressed bytes,...]}
    gzip member 1..  the tar members of those files and the end of the tar, cut every CUT bytes, so that threads can
                     inflate ahead of the writer

The reader (``reader``) trusts only the index. It computes every tar header from the index and compares the bytes.
Therefore an archive can't express links, devices, owners or other modes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from tunecast_core.bundle import tar

INDEX = ".tunecast-index.json"
CUT = 4 * 2**20  # bytes of the tar in one gzip member: they compress well, and several members fit into memory
LARGEST_MEMBER = CUT + 2**16  # upper bound of the bytes that CUT bytes deflate to
END = bytes(1024)
GZIP = 31  # zlib's wbits for gzip
LONGEST_PATH = 3000  # bytes; stays below PATH_MAX behind any mount path
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive."""

    path: str  # relative to the mount path, POSIX
    size: int
    mtime_ns: int
    executable: bool

    def header(self) -> bytes:
        """Returns the tar header, a whole number of blocks."""
        return tar.header(self.path, self.size, executable=self.executable)

    @property
    def padding(self) -> int:
        """Number of bytes that fill the last block."""
        return tar.padding(self.size)


def sound(path: str) -> bool:
    """Whether ``path`` names a file below any root on every machine, and can be shown in a message."""
    names = path.split("/")
    return (
        path.isprintable()
        and len(path.encode()) <= LONGEST_PATH
        and all(name not in {"", ".", ".."} and len(name.encode()) <= _LONGEST_NAME for name in names)
    )


def deflate(data: bytes) -> bytes:
    """Compresses ``data`` to one gzip member. In measurements, level 6 was 6% smaller than 3, and inflated as fast."""
    packer = zlib.compressobj(6, zlib.DEFLATED, GZIP)
    return packer.compress(data) + packer.flush()


def inflate(data: bytes, limit: int = CUT) -> bytes:
    """Returns the content of one gzip member. Stops and raises ValueError beyond ``limit`` bytes."""
    unpacker = zlib.decompressobj(GZIP)
    found = unpacker.decompress(data, limit)
    if not unpacker.eof and (unpacker.decompress(unpacker.unconsumed_tail, 1) or not unpacker.eof):
        raise ValueError(f"a gzip member is cut short or holds more than {limit} bytes")
    return found


def encode_index(entries: Iterable[Entry], members: Iterable[int]) -> bytes:
    """Returns gzip member 0, which lists the files and the compressed sizes of the members that follow."""
    files = [[e.path, e.size, e.mtime_ns, e.executable] for e in entries]
    data = json.dumps({"files": files, "members": [*members]}, separators=(",", ":"), ensure_ascii=False).encode()
    entry = Entry(INDEX, len(data), 0, executable=False)
    return deflate(entry.header() + data + bytes(entry.padding))
