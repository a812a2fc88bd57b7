"""Reads the index of an untrusted archive in bounded memory.

``json`` isn't used: 16 MiB of JSON, which deflate to 16 KiB, can become lists of a gigabyte. Instead, the index is
matched row by row, and the rows are counted.
"""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tunecast_core.bundle.archive import CUT, INDEX, LARGEST_MEMBER, LONGEST_PATH, Entry, sound
from tunecast_core.bundle.layers import layer_of
from tunecast_core.bundle.stream import GzipMember, Stream
from tunecast_core.errors import MalformedError, UnsafeArchiveError
from tunecast_core.records.manifest import Archive

LARGEST = 16 * 2**20  # bytes of an index, and of the names of all directories
MOST_FILES = 100_000  # limit of the files of an archive, and likewise of its directories and gzip members
_BYTES_PER_FILE = LONGEST_PATH + 100  # upper bound of a file's bytes in the index
_TAR_PER_FILE = LONGEST_PATH + 4 * tarfile.BLOCKSIZE  # upper bound of a file's headers and padding in the tar
_BIGGEST = 2**62

_NUMBER = rb"(0|-?[1-9]\d{0,18})"
_FILE = re.compile(rb'\["([^"\\]*(?:\\.[^"\\]*){0,3000})",' + _NUMBER + rb"," + _NUMBER + rb",(true|false)\](,)?")
_MEMBER = re.compile(_NUMBER + rb"(,)?")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Index:
    """The files of an archive, their directories, and the compressed sizes of gzip members 1 and up."""

    entries: Sequence[Entry]
    directories: Sequence[str]  # sorted, so that parents come first
    members: Sequence[int]


@contextmanager
def hostile(layer: str) -> Iterator[None]:
    """Converts exceptions that the standard library raises on broken archives to MalformedError."""
    try:
        yield
    except (EOFError, zlib.error, tarfile.TarError) as error:
        raise MalformedError(f"the archive of layer {layer} is broken: {error}") from error
    except ValueError as error:
        raise MalformedError(f"the archive of layer {layer} can't be read: {error}") from error


def read_index(stream: Stream, expected: Archive) -> Index:
    """Reads member 0 of ``stream``, which is then at the first byte of member 1.

    Raises:
        MalformedError: the stream is not a complete archive.
        UnsafeArchiveError: the archive doesn't match ``expected``, or reaches outside its layer.
    """
    with hostile(expected.layer):
        entries, members = _parse(_text(stream, expected), expected)
    _check(entries, expected)
    return Index(entries, directories([entry.path for entry in entries], expected.layer), members)


def _text(stream: Stream, expected: Archive) -> bytearray:
    limit = min(1024 + expected.files * _BYTES_PER_FILE, LARGEST)
    member = GzipMember(stream, limit + LARGEST_MEMBER)
    header = tarfile.TarInfo.frombuf(member.read(tarfile.BLOCKSIZE), "utf-8", "strict")
    if header.name != INDEX:
        raise MalformedError(f"the archive of layer {expected.layer} doesn't start with {INDEX}")
    if not 0 <= header.size <= limit:
        raise _unsafe(expected, f"has an index of {header.size} bytes for {expected.files} files")
    text = member.read(header.size)
    member.read(-header.size % tarfile.BLOCKSIZE)
    member.end()
    return text


def _parse(text: bytearray, expected: Archive) -> tuple[list[Entry], list[int]]:
    most_files = min(expected.files, MOST_FILES)
    most_members = min((expected.unpacked + most_files * _TAR_PER_FILE) // CUT + 1, MOST_FILES)
    at = _after(text, 0, b'{"files":[')
    entries, at = _rows(text, at, _FILE, _entry, most_files, expected)
    at = _after(text, at, b'],"members":[')
    members, at = _rows(text, at, _MEMBER, _member, most_members, expected)
    if _after(text, at, b"]}") != len(text):
        raise ValueError("its index goes on after its end")
    return entries, members


def _after(text: bytearray, at: int, word: bytes) -> int:
    if text[at : at + len(word)] != word:
        raise ValueError(f"its index has no {word.decode()} at byte {at}")
    return at + len(word)


def _rows(
    text: bytearray,
    at: int,
    pattern: re.Pattern[bytes],
    make: Callable[[re.Match[bytes]], T],
    most: int,
    expected: Archive,
) -> tuple[list[T], int]:
    """Returns the items of a JSON list, and the position of their end."""
    found: list[T] = []
    row, more = pattern.match(text, at), False
    while row:
        if len(found) == most:
            raise _unsafe(expected, f"has an index of more than {most} files or members")
        found.append(make(row))
        at, more = row.end(), bool(row[row.re.groups])
        row = pattern.match(text, at) if more else None
    if more:
        raise ValueError(f"its index has another shape at byte {at}")
    return found, at


def _entry(row: re.Match[bytes]) -> Entry:
    path, size, mtime_ns, executable, _ = row.groups()
    text = json.loads(b'"' + path + b'"') if b"\\" in path else path.decode()
    return Entry(text, _number(size, 0, _BIGGEST), _number(mtime_ns, -_BIGGEST, _BIGGEST), executable == b"true")


def _member(row: re.Match[bytes]) -> int:
    return _number(row[1], 1, LARGEST_MEMBER)


def _number(digits: bytes, least: int, most: int) -> int:
    value = int(digits)
    if not least <= value <= most:
        raise ValueError(f"its index has {value} where a number from {least} to {most} should be")
    return value


def _check(entries: Sequence[Entry], expected: Archive) -> None:
    held = (len(entries), sum(entry.size for entry in entries))
    if held != (expected.files, expected.unpacked):
        raise _unsafe(
            expected,
            f"declares {held[0]} files of {held[1]} bytes, "
            f"its manifest {expected.files} of {expected.unpacked}",
        )  # fmt: skip
    for entry in entries:
        layer = layer_of(entry.path) if sound(entry.path) else None
        if layer is None or layer.name != expected.layer:
            raise _unsafe(expected, f"holds {entry.path!r}, which isn't a path of this layer")


def directories(paths: Sequence[str], layer: str) -> list[str]:
    """Returns all directories above ``paths``, sorted, without the root.

    Raises:
        UnsafeArchiveError: a path occurs twice or is below another path, or there are too many directories.
    """
    files, found, characters = set(paths), set[str](), 0
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            characters += len(parent)
            if len(found) > MOST_FILES or characters > LARGEST:
                raise UnsafeArchiveError(f"the archive of layer {layer} has more than {MOST_FILES} directories")
            parent = parent.rpartition("/")[0]
    if len(files) < len(paths) or files & found:
        clash = next(path for path, count in Counter(paths).items() if count > 1 or path in found)
        raise UnsafeArchiveError(f"the archive of layer {layer} holds {clash!r} twice")
    return sorted(found)


def _unsafe(expected: Archive, what: str) -> UnsafeArchiveError:
    return UnsafeArchiveError(f"the archive of layer {expected.layer} {what}")
