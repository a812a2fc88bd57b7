"""Archives that ``bundle.pack`` would never write."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunecast_core.bundle.archive import END, INDEX, Entry, deflate, encode_index
from tunecast_core.records.manifest import Archive


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
    """Writes an archive of ``entries`` whose tar is ``tar``; ``declared`` overrides fields of its manifest entry."""
    body = b"".join(plain(e) for e in entries) + END if tar is None else tar
    data = packed(entries, body)
    destination.write_bytes(data)
    honest = {
        "layer": layer,
        "digest": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "unpacked": sum(e.size for e in entries),
        "files": len(entries),
    }
    return Archive(**{**honest, **declared})


def packed(entries: Sequence[Entry], tar: bytes) -> bytes:
    """Returns an archive of an index and one gzip member."""
    member = deflate(tar)
    return encode_index(entries, [len(member)]) + member


def written(destination: Path, index: bytes, *members: bytes, **declared: Any) -> Archive:
    """Writes an archive whose index has this text; ``declared`` overrides fields of its manifest entry."""
    head = deflate(plain(Entry(INDEX, len(index), 0, executable=False), index))
    destination.write_bytes(head + b"".join(members))
    digest = hashlib.sha256(destination.read_bytes()).hexdigest()
    honest = {"layer": "Triton", "digest": digest, "size": destination.stat().st_size, "unpacked": 4, "files": 1}
    return Archive(**{**honest, **declared})


def index_of(rows: Sequence[bytes], members: Sequence[bytes]) -> bytes:
    """Returns the text of an index with these rows and members."""
    return b'{"files":[' + b",".join(rows) + b'],"members":[' + b",".join(members) + b"]}"


def bombs(folder: Path) -> dict[str, tuple[Path, Archive]]:
    """Writes small archives on which a reader without limits would spend gigabytes or hours."""
    row, many = b'["triton/a",4,0,false]', 8_000_000  # as many as fit into the 16 MiB of an index
    deep = [b'["triton/%d/%s",0,0,false]' % (n, b"a/" * 1400 + b"a") for n in range(5000)]
    body = deflate(plain(entry("triton/a")) + END)
    huge = deflate(bytes(2**26))
    found: dict[str, tuple[bytes, tuple[bytes, ...], dict[str, int]]] = {
        "members": (index_of([row], [b"1"] * many), (body,), {"files": 10**6}),
        "objects": (index_of([b'{"":0}'] * (many // 4), [b"1"]), (body,), {"files": 10**7}),
        "files": (index_of([row] * (many // 12), [b"1"]), (body,), {"files": 10**6}),
        "directories": (index_of(deep, [b"1"]), (body,), {"files": len(deep), "unpacked": 0}),
        "a member": (index_of([row], [b"%d" % len(huge)]), (huge,), {}),
        "many members": (index_of([row], [b"%d" % len(huge)] * 9), (huge,) * 9, {}),
        "a file": (index_of([b'["triton/a",%d,0,false]' % 2**40], [b"%d" % len(body)]), (body,), {"unpacked": 2**40}),
    }
    archives = {name: (folder / name.replace(" ", "-"), *of) for name, of in found.items()}
    whole = {
        name: (path, written(path, index, *members, **declared))
        for name, (path, index, members, declared) in archives.items()
    }
    return {**whole, "a name": _named(folder / "name"), "nothing": _empty(folder / "nothing")}


def _named(path: Path) -> tuple[Path, Archive]:
    """Writes a gzip header with a very long name, which readers skip."""
    path.write_bytes(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 2**25)
    return path, Archive("Triton", hashlib.sha256(path.read_bytes()).hexdigest(), 10 + 2**25, 4, 1)


def _empty(path: Path) -> tuple[Path, Archive]:
    """Writes a gzip member of many empty blocks."""
    path.write_bytes(b"\x1f\x8b\x08\x00" + bytes(6) + b"\x00\x00\x00\xff\xff" * 2**23)
    return path, Archive("Triton", hashlib.sha256(path.read_bytes()).hexdigest(), 10 + 5 * 2**23, 4, 1)


def plain(e: Entry, data: bytes | None = None) -> bytes:
    """Returns the tar member of a file; its content is zeros unless ``data`` is given."""
    return e.header() + (bytes(e.size) if data is None else data) + bytes(e.padding)


def special(path: str, kind: bytes, *, mode: int = 0o644, link: str = "", size: int = 0) -> bytes:
    """Returns a tar with one member that is not a regular file, as ``tarfile`` writes it."""
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, size
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(bytes(size)))
    return stream.getvalue()
