"""Archives of any bytes and shape: the operator must sign exactly those that an init container accepts."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from support.archives import forged
from tunecast_core.bundle import pack as bundle
from tunecast_core.bundle.archive import END, Entry
from tunecast_core.bundle.layers import layer_of
from tunecast_core.bundle.reader import inspect
from tunecast_core.errors import TunecastError
from tunecast_core.records.manifest import Archive

FILES = 64  # largest number in one archive
UNPACKED = 2**16
MEMORY = Path("/dev/shm")
ROOT = (MEMORY if MEMORY.is_dir() else Path(tempfile.gettempdir())) / f"tunecast-fuzz-{os.getpid()}"
CANARY = b"untouched"
NAMES = (
    b"triton/a", b"triton/a/b", b"triton/../../x", b"/etc/x", b"triton//x", b"triton/.", b"cuda/x", b"triton/x.lock",
    b"triton/" + b"n" * 300, b"triton/\xff", b"triton/a\nb", b"", b"..", b"triton/.tunecast-staging/x",
)  # fmt: skip


class Bytes:
    """Reads choices from fuzzed bytes, and zeros after their end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        self._at += count
        return found + bytes(count - len(found))

    def number(self, below: int) -> int:
        return int.from_bytes(self.take(4), "big") % below

    @property
    def left(self) -> bool:
        return self._at < len(self._data)


def archive(data: bytes) -> None:
    """Checks an archive of fuzzed bytes, whose manifest matches them."""
    path = fresh() / "archive"
    path.write_bytes(data)
    _unpacked(path, Archive("Triton", hashlib.sha256(data).hexdigest(), len(data), 8, 2))


def layout(data: bytes) -> None:
    """Checks well-formed archives whose index and tar are chosen by the fuzzed bytes."""
    chosen, path = Bytes(data), fresh() / "archive"
    entries: list[Entry] = []
    while chosen.left and len(entries) < FILES:
        name = chosen.take(1 + chosen.number(20)) if chosen.number(3) == 0 else NAMES[chosen.number(len(NAMES))]
        size = (0, 1, 511, 512, 513, 4096, -1, 2**40)[chosen.number(8)]
        text = name.decode(errors="surrogateescape" if chosen.number(9) == 0 else "replace")
        entries.append(Entry(text, size, chosen.number(2**31) - 2**30, executable=bool(chosen.number(2))))
    try:
        _unpacked(path, _forge(path, entries, chosen))
    except UnicodeEncodeError:
        return  # JSON cannot hold it


def _forge(path: Path, entries: list[Entry], chosen: Bytes) -> Archive:
    honest = all(0 <= e.size <= UNPACKED for e in entries)
    if honest and chosen.number(2):
        return forged(path, entries, None)
    tar = b"".join(chosen.take(chosen.number(700)) for _ in range(chosen.number(4))) + END
    return forged(path, entries, tar, unpacked=sum(e.size for e in entries))


def fresh() -> Path:
    shutil.rmtree(ROOT, ignore_errors=True)
    (ROOT / "mount").mkdir(parents=True)
    (ROOT / "canary").write_bytes(CANARY)
    return ROOT


def _unpacked(path: Path, expected: Archive) -> None:
    """Checks that unpacking writes only regular files of the layer below the mount path, or nothing at all.

    The operator, which inspects archives without unpacking them, must reach the same verdict.
    """
    mount = ROOT / "mount"
    data = path.read_bytes()
    signed = True
    try:
        inspect((data[at : at + 100] for at in range(0, len(data), 100)), expected)
    except TunecastError:
        signed = False
    try:
        bundle.unpack(path, mount, expected)
    except TunecastError:
        assert not [*mount.rglob("*")], "an archive that is refused leaves nothing"
        assert not signed, "the operator signs nothing that an init container refuses"
    else:
        assert signed, "the operator refuses nothing that an init container accepts"
    for found in mount.rglob("*"):
        assert not found.is_symlink()
        if found.is_file():
            layer = layer_of(str(found.relative_to(mount)))
            assert layer is not None
            assert layer.name == expected.layer
            assert not found.stat().st_mode & 0o7000
    assert {entry.name for entry in ROOT.iterdir()} == {"mount", "canary", path.name}
    assert (ROOT / "canary").read_bytes() == CANARY
