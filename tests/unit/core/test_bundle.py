"""Archives restore exactly the files that were packed."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.archives import entry, forged, plain, special
from tunecast_core.bundle import pack as bundle
from tunecast_core.bundle.archive import CUT, END, Entry, sound
from tunecast_core.errors import BundleError, DigestMismatchError, InstallError, MalformedError, UnsafeArchiveError
from tunecast_core.records.manifest import Archive

NANOSECONDS = (0, 1, 999_999_999, 1_700_000_000_123_456_789, 1_763_900_000_000_000_007, 2**31 * 10**9 + 1, -1)


def tree(root: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def listing(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = tmp_path / "root"
    found.mkdir()
    return found


@pytest.fixture
def tight_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_files_come_back_with_their_bytes_times_and_executable_bits(tmp_path: Path, root: Path) -> None:
    files = {f"triton/{i}/kernel.so": bytes([i]) * (i * 1000) for i in range(len(NANOSECONDS))}
    source = tree(tmp_path / "source", files)
    for path, nanoseconds in zip(files, NANOSECONDS, strict=True):
        os.utime(source / path, ns=(0, nanoseconds))
    (source / "triton/3/kernel.so").chmod(0o4711)
    archive = bundle.pack(source, list(files), tmp_path / "archive")
    bundle.unpack(tmp_path / "archive", root, archive)
    assert contents(root) == files
    assert [(root / path).stat().st_mtime_ns for path in files] == list(NANOSECONDS)
    modes = [stat.S_IMODE((root / path).stat().st_mode) for path in files]
    assert modes == [0o777 if i == 3 else 0o666 for i in range(len(files))]
    assert archive == Archive(
        "Triton", *bundle.digest_of(tmp_path / "archive"), sum(map(len, files.values())), len(files)
    )


@pytest.mark.usefixtures("tight_umask")
def test_any_user_may_write_with_any_umask(tmp_path: Path, root: Path) -> None:
    source = tree(tmp_path / "source", {"vllm/torch_compile_cache/a/b/c.py": b"1"})
    archive = bundle.pack(source, ["vllm/torch_compile_cache/a/b/c.py"], tmp_path / "archive")
    bundle.unpack(tmp_path / "archive", root, archive)
    made = [path for path in root.rglob("*") if path.is_dir()]
    assert len(made) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o777}
    assert stat.S_IMODE((root / "vllm/torch_compile_cache/a/b/c.py").stat().st_mode) == 0o666


def test_files_larger_than_a_member_come_back(tmp_path: Path, root: Path) -> None:
    files = {"triton/large": os.urandom(2 * CUT + 17), "triton/" + "x" * 200 + "/" + "y" * 200: b"long name"}
    archive = bundle.pack(tree(tmp_path / "source", files), list(files), tmp_path / "archive")
    bundle.unpack(tmp_path / "archive", root, archive)
    assert contents(root) == files


def test_the_same_files_make_the_same_archive_in_any_order(tmp_path: Path) -> None:
    files = {"triton/b": b"1", "triton/a/c": b"2", "triton/a.b": b"3"}
    source = tree(tmp_path / "source", files)
    first = bundle.pack(source, list(files), tmp_path / "1")
    assert bundle.pack(source, list(reversed(files)), tmp_path / "2") == first


def test_any_tar_can_list_an_archive(tmp_path: Path) -> None:
    source = tree(tmp_path / "source", {"triton/a": b"1", "triton/b": b"22"})
    bundle.pack(source, ["triton/a", "triton/b"], tmp_path / "archive")
    with tarfile.open(tmp_path / "archive", "r:gz") as tar:
        assert [(member.name, member.size) for member in tar][1:] == [("triton/a", 1), ("triton/b", 2)]


def test_layers_that_share_directories_are_installed_together(tmp_path: Path, root: Path) -> None:
    files = {"vllm/torch_compile_cache/a": b"1", "vllm/modelinfos/b": b"2"}
    source = tree(tmp_path / "source", files)
    archives = [(tmp_path / str(i), bundle.pack(source, [path], tmp_path / str(i))) for i, path in enumerate(files)]
    bundle.install(archives, root)
    assert contents(root) == files


@pytest.mark.parametrize("paths", [[], ["triton/a", "cuda/b"], ["elsewhere"], ["triton/a", "triton/x.lock"]])
def test_only_one_layers_files_are_packed(tmp_path: Path, paths: list[str]) -> None:
    tree(tmp_path, dict.fromkeys(paths, b""))
    with pytest.raises(BundleError, match="one layer"):
        bundle.pack(tmp_path, paths, tmp_path / "archive")


def test_a_file_that_changes_while_it_is_packed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tree(tmp_path / "source", {"triton/a": b"1"})
    header = Entry.header

    def touching(self: Entry) -> bytes:
        (source / "triton/a").write_bytes(b"22")
        return header(self)

    monkeypatch.setattr(Entry, "header", touching)
    with pytest.raises(BundleError, match="changed while it was packed"):
        bundle.pack(source, ["triton/a"], tmp_path / "archive")


OUTSIDE = ("../x", "/x", "triton/../../x", "triton//x", "triton/./x", "triton/x/", "triton/\0x", "triton/\nx")
TOO_LONG = ("triton/" + "x" * 256, "triton/" + "x/" * 2000 + "x")


@pytest.mark.parametrize("path", [*OUTSIDE, *TOO_LONG, "cuda/x", "elsewhere", "triton/x.lock"])
def test_paths_that_are_not_the_layers_are_refused(tmp_path: Path, root: Path, path: str) -> None:
    refused(forged(tmp_path / "archive", [entry("triton/good"), entry(path)]), tmp_path / "archive", root)


@pytest.mark.parametrize("path", [*OUTSIDE, *TOO_LONG, "triton/\udcff"])
def test_no_such_path_is_sound(path: str) -> None:
    assert not sound(path)


@pytest.mark.parametrize("paths", [["triton/a", "triton/a"], ["triton/a", "triton/a/b"], ["triton/a/b/c", "triton/a"]])
def test_a_path_may_occur_only_once(tmp_path: Path, root: Path, paths: list[str]) -> None:
    refused(forged(tmp_path / "archive", [entry(path) for path in paths]), tmp_path / "archive", root)


@pytest.mark.parametrize(
    "tar",
    [
        pytest.param(special("triton/a", tarfile.SYMTYPE, link="/etc/passwd"), id="symlink"),
        pytest.param(special("triton/a", tarfile.LNKTYPE, link="../../x"), id="hardlink"),
        pytest.param(special("triton/a", tarfile.CHRTYPE), id="character device"),
        pytest.param(special("triton/a", tarfile.BLKTYPE), id="block device"),
        pytest.param(special("triton/a", tarfile.FIFOTYPE), id="fifo"),
        pytest.param(special("triton/a", tarfile.DIRTYPE), id="directory"),
        pytest.param(special("triton/a", tarfile.REGTYPE, mode=0o4755, size=4), id="setuid"),
        pytest.param(special("triton/a", tarfile.REGTYPE, mode=0o2644, size=4), id="setgid"),
        pytest.param(special("triton/b", tarfile.REGTYPE, size=4), id="another name"),
        pytest.param(special("triton/a", tarfile.REGTYPE, size=5), id="another size"),
    ],
)
def test_the_tar_must_match_the_index(tmp_path: Path, root: Path, tar: bytes) -> None:
    refused(forged(tmp_path / "archive", [entry("triton/a")], tar), tmp_path / "archive", root)


@pytest.mark.parametrize("declared", [{"files": 1}, {"files": 3}, {"unpacked": 7}, {"unpacked": 9}, {"unpacked": 0}])
def test_an_archive_must_match_its_manifest(tmp_path: Path, root: Path, declared: dict[str, Any]) -> None:
    entries = [entry("triton/a"), entry("triton/b")]
    refused(forged(tmp_path / "archive", entries, **declared), tmp_path / "archive", root)


def test_a_bomb_stops_at_the_first_byte_too_many(tmp_path: Path, root: Path) -> None:
    bomb = plain(entry("triton/a")) + END + bytes(CUT)
    broken(forged(tmp_path / "archive", [entry("triton/a")], bomb), tmp_path / "archive", root)


@pytest.mark.parametrize("kept", [0, 1, 10, 100, 0.5, 0.9, -9, -1])
def test_a_truncated_archive_is_broken(tmp_path: Path, root: Path, kept: float) -> None:
    path = tmp_path / "archive"
    forged(path, [entry("triton/a", os.urandom(3000)), entry("triton/b")])
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    broken(resigned(path, [entry("triton/a", bytes(3000)), entry("triton/b")]), path, root)


@pytest.mark.parametrize("cut", [0, 100, 512, 514])
def test_a_tar_that_ends_early_is_broken(tmp_path: Path, root: Path, cut: int) -> None:
    archive = forged(tmp_path / "archive", [entry("triton/a")], plain(entry("triton/a"))[:cut])
    with pytest.raises((MalformedError, UnsafeArchiveError)):
        bundle.unpack(tmp_path / "archive", root, archive)
    assert listing(root) == []


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=600), changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8))
def test_garbage_raises_only_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, changes: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("garbage")
    entries = [entry("triton/a", data), entry("triton/b/c")]
    forged(folder / "archive", entries)
    mutated = bytearray((folder / "archive").read_bytes() if changes else data)
    for position, value in changes:
        mutated[position % len(mutated)] = value
    (folder / "archive").write_bytes(mutated)
    (folder / "root").mkdir()
    try:
        bundle.unpack(folder / "archive", folder / "root", resigned(folder / "archive", entries))
    except (UnsafeArchiveError, MalformedError):
        assert listing(folder / "root") == []
    else:
        assert set(contents(folder / "root")) == {"triton/a", "triton/b/c"}


def test_an_altered_archive_is_not_even_read(tmp_path: Path, root: Path) -> None:
    archive = forged(tmp_path / "archive", [entry("triton/a")])
    for wrong in (replace(archive, digest="0" * 64), replace(archive, size=archive.size + 1)):
        with pytest.raises(DigestMismatchError):
            bundle.unpack(tmp_path / "archive", root, wrong)
    assert listing(root) == []


def test_one_bad_archive_keeps_all_others_out(tmp_path: Path, root: Path) -> None:
    good = forged(tmp_path / "good", [entry("cuda/a")], layer="CUDA")
    bad = forged(tmp_path / "bad", [entry("../x")])
    with pytest.raises(UnsafeArchiveError):
        bundle.install([(tmp_path / "good", good), (tmp_path / "bad", bad)], root)
    assert listing(root) == []


def test_an_existing_file_is_not_replaced(tmp_path: Path, root: Path) -> None:
    tree(root, {"triton/a": b"mine"})
    with pytest.raises(InstallError, match="empty mount path"):
        bundle.unpack(tmp_path / "archive", root, forged(tmp_path / "archive", [entry("triton/a")]))
    assert contents(root) == {"triton/a": b"mine"}


def test_a_link_in_the_way_is_not_followed(tmp_path: Path, root: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "triton").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InstallError):
        bundle.unpack(tmp_path / "archive", root, forged(tmp_path / "archive", [entry("triton/a")]))
    assert listing(tmp_path / "elsewhere") == []


def test_a_mount_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    archive = forged(tmp_path / "archive", [entry("triton/a")])
    with pytest.raises(InstallError, match="nowhere"):
        bundle.unpack(tmp_path / "archive", tmp_path / "nowhere", archive)


def refused(archive: Archive, path: Path, root: Path) -> None:
    with pytest.raises(UnsafeArchiveError):
        bundle.unpack(path, root, archive)
    assert listing(root) == []
    assert {p.name for p in root.parent.iterdir()} == {"root", "archive"}


def broken(archive: Archive, path: Path, root: Path) -> None:
    with pytest.raises(MalformedError):
        bundle.unpack(path, root, archive)
    assert listing(root) == []


def resigned(path: Path, entries: Sequence[Entry]) -> Archive:
    """Returns a manifest entry that matches the bytes at ``path``."""
    return Archive("Triton", *bundle.digest_of(path), sum(e.size for e in entries), len(entries))
