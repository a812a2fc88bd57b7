"""Files of layers to archives and back: ``capture``, ``pack``, ``unpack``. The format is in ``archive``."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from tunecast_cache.archive import CUT, END, Entry, deflate, encode_index, hostile, inflate, read_index, sound
from tunecast_cache.capture import STAGING, Captured, capture
from tunecast_cache.errors import BundleError, DigestMismatchError, InstallError, UnsafeArchiveError
from tunecast_cache.layers import layer_of
from tunecast_cache.manifest import Archive
from tunecast_cache.spread import spread

__all__ = ["Captured", "ahead", "capture", "digest_of", "install", "pack", "unpack", "verify"]

_CHUNK = 2**20
_THREADS = 2  # measured: zlib keeps up with the file system, more only fight for the interpreter's lock

T = TypeVar("T")


def pack(root: Path, paths: Sequence[str], destination: Path) -> Archive:
    """Writes one layer's files, which nothing may be writing meanwhile, to the archive at ``destination``.

    Raises:
        BundleError: ``paths`` are none, of several layers, or a file changed meanwhile.
    """
    names = {layer.name if (layer := layer_of(path)) else "none" for path in paths}
    if len(names) != 1 or "none" in names:
        raise BundleError(f"an archive holds the files of one layer, not of {', '.join(sorted(names)) or 'none'}")
    entries = [_entry(root, path) for path in sorted(paths)]
    with tempfile.TemporaryFile(dir=destination.parent) as body, destination.open("wb") as target:
        members = [body.write(member) for member in ahead(deflate, _cut(_tar(root, entries)))]
        target.write(encode_index(entries, members))
        body.seek(0)
        shutil.copyfileobj(body, target, _CHUNK)
    digest, size = digest_of(destination)
    return Archive(names.pop(), digest, size, sum(entry.size for entry in entries), len(entries))


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
            raise BundleError(f"{entry.path} changed while it was packed: stop the engine before")
        yield bytes(entry.padding)
    yield END


def _cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, in pieces of CUT."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= CUT:
            yield bytes(buffer[:CUT])
            del buffer[:CUT]
    yield bytes(buffer)


def ahead(work: Callable[[T], bytes], items: Iterable[T]) -> Iterator[bytes]:
    """``map``, a few items ahead in threads: zlib runs beside the caller's file system calls, in bounded memory."""
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 in hex, and bytes, of the file at ``path``."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def unpack(path: Path, root: Path, expected: Archive) -> None:
    """Like ``install``, with one archive."""
    install([(path, expected)], root)


def install(archives: Iterable[tuple[Path, Archive]], root: Path) -> None:
    """Puts the files of all ``archives`` below ``root``, or none; whoever clears ``root`` after an error clears all.

    Any user may then write, lock and replace them, and their modification times are exact to the nanosecond.

    Raises:
        DigestMismatchError: an archive is not the one that was expected; nothing of it was unpacked.
        UnsafeArchiveError: it reaches outside its layer, or holds more than ``expected`` says.
        MalformedError: it is broken.
        InstallError: the file system refused.
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
    index = read_index(raw, expected.layer, expected.files)
    _check(index.entries, expected)
    _make_directories(staging, (entry.path for entry in index.entries))
    with hostile(expected.layer):
        stream = _Stream(ahead(inflate, (_part(raw, *member) for member in index.members)))
        for entry in index.entries:
            _unpack_file(f"{staging}/{entry.path}", entry, stream)


def _part(raw: BinaryIO, offset: int, size: int) -> bytes:
    raw.seek(offset)
    return raw.read(size)


def _check(entries: Sequence[Entry], expected: Archive) -> None:
    held = (len(entries), sum(entry.size for entry in entries))
    if held != (expected.files, expected.unpacked):
        raise UnsafeArchiveError(
            f"the archive of layer {expected.layer} says it holds {held[0]} files of {held[1]} bytes, "
            f"its manifest {expected.files} of {expected.unpacked}"
        )
    for entry in entries:
        layer = layer_of(entry.path) if sound(entry.path) else None
        if layer is None or layer.name != expected.layer:
            raise UnsafeArchiveError(
                f"the archive of layer {expected.layer} holds {entry.path!r}, which isn't the layer's"
            )
    _refuse_clashes(expected.layer, [entry.path for entry in entries])


def _refuse_clashes(layer: str, paths: Sequence[str]) -> None:
    twice = next((path for path, count in Counter(paths).items() if count > 1), None)
    clash = twice or next(iter(_parents(paths) & set(paths)), None)
    if clash:
        raise UnsafeArchiveError(f"the archive of layer {layer} holds {clash!r} twice")


def _parents(paths: Iterable[str]) -> set[str]:
    """All directories above ``paths``, without the root."""
    found: set[str] = set()
    nearest = {path.rpartition("/")[0] for path in paths} - {""}
    while nearest:
        found |= nearest
        nearest = {path.rpartition("/")[0] for path in nearest} - {""} - found
    return found


def _make_directories(staging: Path, paths: Iterable[str]) -> None:
    for directory in sorted(_parents(paths)):
        made = staging / directory
        made.mkdir(exist_ok=True)  # layers share some
        made.chmod(0o777)  # whatever the umask
        spread(made)


class _Stream:
    """Reads exact numbers of bytes from an iterator of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def pieces(self, size: int) -> Iterator[memoryview]:
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
            piece, self._rest = self._rest[:size], self._rest[size:]
            if not piece:
                raise EOFError("it ends early")
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        return b"".join(self.pieces(size))


def _unpack_file(path: str, entry: Entry, stream: _Stream) -> None:
    header = entry.header()
    if stream.read(len(header)) != header:
        raise UnsafeArchiveError(f"the archive holds something else where {entry.path!r} should be")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    try:
        for piece in stream.pieces(entry.size):
            _write_all(descriptor, piece)
        os.fchmod(descriptor, 0o777 if entry.executable else 0o666)  # whatever the umask
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))  # the last touch: ninja compares nanoseconds
    finally:
        os.close(descriptor)
    stream.read(entry.padding)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _merge(source: Path, target: Path) -> None:
    """Moves what is below ``source`` to ``target``, whole directories where there is none of that name yet."""
    for name in sorted(os.listdir(source)):  # noqa: PTH208
        new, old = source / name, target / name
        if old.is_dir() and not old.is_symlink() and new.is_dir():
            _merge(new, old)
        elif os.path.lexists(old):
            raise InstallError(f"{old} is there already: unpack into an empty mount path")
        else:
            new.rename(old)
