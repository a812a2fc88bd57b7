"""Archives that ``bundle.pack`` would never write."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunecast_cache.archive import END, Entry, deflate, encode_index
from tunecast_cache.manifest import Archive


def entry(path: str, data: bytes = b"data", mtime_ns: int = 0, *, executable: bool = False) -> Entry:
    return Entry(path, len(data), mtime_ns, executable)


def forged(
    destination: Path,
    entries: Sequence[Entry],
    tar: bytes | None = None,
    *,
    layer: str = "Triton",
    **declared: Any,
) -> Archive:
    """Writes an archive of ``entries`` whose tar is ``tar``; ``declared`` replaces what its manifest says of it."""
    body = b"".join(plain(e) for e in entries) + END if tar is None else tar
    member = deflate(body)
    data = encode_index(entries, [len(member)]) + member
    destination.write_bytes(data)
    honest = {
        "layer": layer,
        "digest": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "unpacked": sum(e.size for e in entries),
        "files": len(entries),
    }
    return Archive(**{**honest, **declared})


def plain(e: Entry, data: bytes | None = None) -> bytes:
    """The tar member of a file, of zeros where no data is given."""
    return e.header() + (bytes(e.size) if data is None else data) + bytes(e.padding)


def special(path: str, kind: bytes, *, mode: int = 0o644, link: str = "", size: int = 0) -> bytes:
    """A tar with one member of another kind, as ``tarfile`` writes it."""
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, size
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(bytes(size)))
    return stream.getvalue()
