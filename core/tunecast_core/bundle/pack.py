"""Packs the files of layers into archives and installs them. The module ``archive`` defines the format."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tunecast_core.bundle.archive import CUT, END, Entry, deflate, encode_index
from tunecast_core.bundle.capture import STAGING, Captured, capture
from tunecast_core.bundle.index import read_index
from tunecast_core.bundle.layers import layer_of
from tunecast_core.bundle.reader import files
from tunecast_core.bundle.spread import spread
from tunecast_core.bundle.stream import Stream, ahead
from tunecast_core.errors import BundleError, DigestMismatchError, InstallError, UnsafeArchiveError
from tunecast_core.records.manifest import Archive

__all__ = ["Captured", "capture", "digest_of", "install", "pack", "unpack", "verify"]

_CHUNK = 2**20


def pack(root: Path, paths: Sequence[str], destination: Path) -> Archive:
    """Packs the files of one layer into an archive at ``destination``. Nothing may write to the files meanwhile.

    Raises:
        BundleError: ``paths`` is empty, of several layers or beyond a reader's limits, or a file changed meanwhile.
    """
    names = {layer.name if (layer := layer_of(path)) else "none" for path in paths}
    if len(names) != 1 or "none" in names:
        raise BundleError(f"an archive holds the files of one layer, not of {', '.join(sorted(names)) or 'none'}")
    entries = [_entry(root, path) for path in sorted(paths)]
    with tempfile.TemporaryFile(dir=destination.parent) as body, destination.open("wb") as target:
        with ahead(deflate, _cut(_tar(root, entries))) as packed:
            members = [body.write(member) for member in packed]
        target.write(encode_index(entries, members))
        body.seek(0)
        shutil.copyfileobj(body, target, _CHUNK)
    digest, size = digest_of(destination)
    archive = Archive(names.pop(), digest, size, sum(entry.size for entry in entries), len(entries))
    _try_index(destination, archive)
    return archive


def _try_index(path: Path, archive: Archive) -> None:
    """Checks that the archive is within the limits of readers, before it is sent to them."""
    try:
        with path.open("rb") as raw:
            read_index(Stream(_chunks(raw)), archive)
    except UnsafeArchiveError as error:
        raise BundleError(f"{error}: leave this layer out (cache.layers.exclude)") from error


def _entry(root: Path, path: str) -> Entry:
    status = os.lstat(root / path)
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path} is no regular file")
    return Entry(path, status.st_size, status.st_mtime_ns, bool(status.st_mode & stat.S_IXUSR))


def _tar(root: Path, entries: Iterable[Entry]) -> Iterator[bytes]:
    for entry in entries:
        yield entry.header()
        with (root / entry.path).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        if _entry(root, entry.path) != entry:
            raise BundleError(f"{entry.path} changed while it was packed: stop the engine first")
        yield bytes(entry.padding)
    yield END


def _cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Returns the same bytes in pieces of CUT bytes."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= CUT:
            yield bytes(buffer[:CUT])
            del buffer[:CUT]
    yield bytes(buffer)


def digest_of(path: Path) -> tuple[str, int]:
    """Returns the SHA-256 in hex and the size in bytes of the file at ``path``."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def unpack(path: Path, root: Path, expected: Archive) -> None:
    """Installs one archive; see ``install``."""
    install([(path, expected)], root)


def install(archives: Iterable[tuple[Path, Archive]], root: Path) -> None:
    """Installs the files of all ``archives`` below ``root``. After an error, the caller clears ``root``.

    Any user can write, lock and replace the files. Their modification times are exact to the nanosecond.

    Raises:
        DigestMismatchError: an archive is not the expected one; none of its files were unpacked.
        UnsafeArchiveError: an archive reaches outside its layer, or holds more than its manifest declares.
        MalformedError: an archive is broken.
        InstallError: the file system failed.
    """
    with _staged(root) as staging:
        for path, expected in archives:
            verify(path, expected)
            with path.open("rb") as raw:
                _unpack(raw, staging, expected)
        _merge(staging, root)


@contextmanager
def _staged(root: Path) -> Iterator[Path]:
    staging = root / STAGING
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        spread(staging)
        yield staging
    except OSError as error:
        raise InstallError(f"can't unpack below {root}: {error}; it must be a writable volume with room") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def verify(path: Path, expected: Archive) -> None:
    """Raises DigestMismatchError unless the file at ``path`` is the archive that was expected."""
    digest, size = digest_of(path)
    if (digest, size) != (expected.digest, expected.size):
        raise DigestMismatchError(
            f"the archive of layer {expected.layer} has {size} bytes and digest {digest}, "
            f"not {expected.size} and {expected.digest}"
        )


def _unpack(raw: BinaryIO, staging: Path, expected: Archive) -> None:
    stream = Stream(_chunks(raw))
    index = read_index(stream, expected)
    _make_directories(staging, index.directories)
    with files(stream, index, expected.layer) as found:
        for entry, pieces in found:
            _write(f"{staging}/{entry.path}", entry, pieces)


def _chunks(raw: BinaryIO) -> Iterator[bytes]:
    while chunk := raw.read(_CHUNK):
        yield chunk


def _make_directories(staging: Path, directories: Sequence[str]) -> None:
    for directory in directories:
        made = staging / directory
        made.mkdir(exist_ok=True)  # layers may share a directory
        made.chmod(0o777)  # independently of the umask
        spread(made)


def _write(path: str, entry: Entry, pieces: Iterator[memoryview]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    try:
        for piece in pieces:
            _write_all(descriptor, piece)
        os.fchmod(descriptor, 0o777 if entry.executable else 0o666)  # independently of the umask
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))  # after the last write: ninja compares nanoseconds
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _merge(source: Path, target: Path) -> None:
    """Moves the content of ``source`` to ``target``, and merges directories that exist in both."""
    for name in sorted(os.listdir(source)):  # noqa: PTH208
        new, old = source / name, target / name
        if old.is_dir() and not old.is_symlink() and new.is_dir():
            _merge(new, old)
        elif os.path.lexists(old):
            raise InstallError(f"{old} exists already: install into an empty mount path")
        else:
            new.rename(old)
