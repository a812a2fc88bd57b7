"""The format of an archive: a ``.tar.gz`` that any tar can list, with an index in front for a fast and exact reader.

    gzip member 0    a tar member named INDEX, JSON without spaces: {"files":[[path,size,mtime ns,executable],...],
                     "members":[compressed bytes,...]}
    gzip member 1..  the tar members of those files and tar's end, cut every CUT bytes: inflating goes ahead of writing

A reader (``reader``) trusts the index alone. It makes every tar header anew from the index and compares the bytes, so
an archive can hold no links, no devices, no owners, no other modes: there is no way to say them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from tunecast_core.bundle import tar

INDEX = ".tunecast-index.json"
CUT = 4 * 2**20  # bytes of the tar in one gzip member: enough to compress well, few enough to hold several in memory
LARGEST_MEMBER = CUT + 2**16  # bytes that CUT bytes deflate to, at the most
END = bytes(1024)
GZIP = 31  # zlib's wbits for gzip
LONGEST_PATH = 3000  # bytes: below PATH_MAX with any mount path in front
_LONGEST_NAME = 255


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


def sound(path: str) -> bool:
    """Whether ``path`` names one place below any root, on every machine, and can be shown in a message."""
    names = path.split("/")
    return (
        path.isprintable()
        and len(path.encode()) <= LONGEST_PATH
        and all(name not in {"", ".", ".."} and len(name.encode()) <= _LONGEST_NAME for name in names)
    )


def deflate(data: bytes) -> bytes:
    """One gzip member; the level is measured: 6 is 6% smaller than 3, and inflates as fast."""
    packer = zlib.compressobj(6, zlib.DEFLATED, GZIP)
    return packer.compress(data) + packer.flush()


def inflate(data: bytes, limit: int = CUT) -> bytes:
    """The bytes of one gzip member; raises ValueError where they are more than ``limit``, and stops there."""
    unpacker = zlib.decompressobj(GZIP)
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
