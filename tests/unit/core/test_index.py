"""An archive's index has exactly one format, and is never read beyond its manifest's limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.archives import entry, index_of, plain, written
from tunecast_core.bundle import index
from tunecast_core.bundle import pack as bundle
from tunecast_core.bundle.archive import CUT, END, LARGEST_MEMBER, Entry, deflate, encode_index
from tunecast_core.bundle.index import LARGEST, MOST_FILES, Index, read_index
from tunecast_core.bundle.stream import Stream
from tunecast_core.errors import BundleError, MalformedError, UnsafeArchiveError
from tunecast_core.records.manifest import Archive

BODY = deflate(plain(entry("triton/a")) + END)
MEMBER = b"%d" % len(BODY)
ROW = b'["triton/a",4,0,false]'


def read(path: Path, archive: Archive) -> Index:
    return read_index(Stream([path.read_bytes()]), archive)


@pytest.mark.parametrize("name", ["triton/a", "triton/é/ü", 'triton/"quoted"\\', "triton/[1,2]", "triton/\\u0041"])
def test_what_is_written_is_read(name: str) -> None:
    entries = [Entry(name, 7, -(2**62), executable=True), Entry("triton/z", 2**40, 5, executable=False)]
    data, archive = encode_index(entries, [1, 99]), Archive("Triton", "d", 0, 2**40 + 7, 2)
    found = read_index(Stream([data[:9], data[9:]]), archive)
    assert (found.entries, found.members) == (entries, [1, 99])


def test_the_stream_is_left_at_the_first_member() -> None:
    stream = Stream([encode_index([entry("triton/a")], [3]) + b"abc"])
    read_index(stream, Archive("Triton", "d", 0, 4, 1))
    assert (stream.read(3), stream.ended) == (b"abc", True)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b"[" * 4000,
        index_of([ROW], [b"x"]),
        index_of([ROW], [b"-1"]),
        index_of([ROW], [b"0"]),
        index_of([ROW], [b"07"]),
        index_of([ROW], [b"1.5"]),
        index_of([ROW], [b"%d" % (LARGEST_MEMBER + 1)]),
        index_of([ROW], [MEMBER + b","]),
        index_of([ROW + b","], [MEMBER]),
        index_of([b'["triton/a",0,0]'], [MEMBER]),
        index_of([b'["triton/a",-1,0,false]'], [MEMBER]),
        index_of([b'["triton/a",true,0,false]'], [MEMBER]),
        index_of([b'["triton/a",4,0.5,false]'], [MEMBER]),
        index_of([b'["triton/a",4,1e9,false]'], [MEMBER]),
        index_of([b'["triton/a",4,%d,false]' % 2**63], [MEMBER]),
        index_of([b'["triton/a",4,0,1]'], [MEMBER]),
        index_of([b"[7,4,0,false]"], [MEMBER]),
        index_of([b'["triton/\xff",4,0,false]'], [MEMBER]),
        index_of([b'["triton/\\x",4,0,false]'], [MEMBER]),
        index_of([ROW], [MEMBER]) + b" ",
        b'{"files": [' + ROW + b'], "members": [' + MEMBER + b"]}",
        b'{"members":[' + MEMBER + b'],"files":[' + ROW + b"]}",
    ],
)
def test_an_index_of_another_shape_is_broken(tmp_path: Path, text: bytes) -> None:
    path, root = tmp_path / "archive", tmp_path / "root"
    archive = written(path, text, BODY)
    with pytest.raises(MalformedError, match=r"can't be read|is broken"):
        read(path, archive)
    root.mkdir()
    with pytest.raises(MalformedError):
        bundle.unpack(path, root, archive)
    assert list(root.iterdir()) == []


def test_no_more_files_are_read_than_the_manifest_has(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchiveError, match="more than 2 files"):
        read(tmp_path / "archive", written(tmp_path / "archive", index_of([ROW] * 3, [MEMBER]), BODY, files=2))


@pytest.mark.parametrize(("unpacked", "members"), [(4, 1), (CUT, 2), (9 * CUT, 10)])
def test_no_more_members_are_read_than_the_files_can_fill(tmp_path: Path, unpacked: int, members: int) -> None:
    text = index_of([b'["triton/a",%d,0,false]' % unpacked], [b"1"] * members)
    assert len(read(tmp_path / "archive", written(tmp_path / "archive", text, unpacked=unpacked)).members) == members
    text = index_of([b'["triton/a",%d,0,false]' % unpacked], [b"1"] * (members + 1))
    with pytest.raises(UnsafeArchiveError, match="files or members"):
        read(tmp_path / "archive", written(tmp_path / "archive", text, unpacked=unpacked))


def test_an_index_too_large_for_its_files_is_refused(tmp_path: Path) -> None:
    rows = [b'["triton/%d%s",4,0,false]' % (n, b"x" * 200) for n in range(1000)]
    with pytest.raises(UnsafeArchiveError, match="has an index of"):
        read(tmp_path / "archive", written(tmp_path / "archive", index_of(rows, [MEMBER])))


@pytest.mark.parametrize("size", [-1, 2**40, LARGEST + 1])
def test_an_index_is_never_read_beyond_its_limit(size: int) -> None:
    bomb = deflate(Entry(".tunecast-index.json", max(size, 0), 0, executable=False).header() + bytes(CUT))
    if size < 0:
        header = bytearray(Entry(".tunecast-index.json", 0, 0, executable=False).header())
        header[124:136] = b"\xff" * 12  # a negative number, as GNU's tar writes it
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
        bomb = deflate(bytes(header))
    with pytest.raises(UnsafeArchiveError, match="index of"):
        read_index(Stream([bomb]), Archive("Triton", "d", len(bomb), 4, 10**9))


def test_directories_are_bounded_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert index.directories(["triton/b/c/d", "triton/a"], "Triton") == ["triton", "triton/b", "triton/b/c"]
    monkeypatch.setattr(index, "MOST_FILES", 2)
    with pytest.raises(UnsafeArchiveError, match="directories"):
        index.directories(["triton/b/c/d"], "Triton")
    monkeypatch.undo()
    monkeypatch.setattr(index, "LARGEST", 9)
    with pytest.raises(UnsafeArchiveError, match="directories"):
        index.directories(["triton/b/c"], "Triton")


def test_an_archive_that_no_reader_would_accept_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MOST_FILES", 2)
    paths = [f"triton/{n}" for n in range(3)]
    (tmp_path / "triton").mkdir()
    for path in paths:
        (tmp_path / path).write_bytes(b"x")
    with pytest.raises(BundleError, match=r"more than 2 files.*cache\.layers\.exclude") as raised:
        bundle.pack(tmp_path, paths, tmp_path / "archive")
    assert raised.value.reason == "BadBundle"
    assert bundle.pack(tmp_path, paths[:2], tmp_path / "archive").files == 2
    assert MOST_FILES >= 100_000
