"""Archives of any content are read to their end in bounded memory, without being unpacked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.archives import bombs, entry, forged, index_of, plain, written
from tunecast_core.bundle import pack as bundle
from tunecast_core.bundle.archive import CUT, END, deflate
from tunecast_core.bundle.reader import inspect
from tunecast_core.errors import MalformedError, UnsafeArchiveError

ROOT = Path(__file__).resolve().parents[3]
MEBIBYTES = 128  # memory limit of a reader of any archive, including the interpreter
ENTRIES = [entry("triton/a"), entry("triton/b/c", b"more data")]
PEAK = "print('peak', open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
READ = """
import sys
from pathlib import Path
from tunecast_core.bundle import pack as bundle
from tunecast_core.errors import TunecastError
from tunecast_core.records.manifest import Archive
from tunecast_core.bundle.reader import inspect
path, layer, digest, *numbers = sys.argv[1:]
archive, root = Archive(layer, digest, *map(int, numbers)), Path(path).parent / 'root'
root.mkdir(exist_ok=True)
for read in (lambda file: inspect(iter(lambda: file.read(2**18), b''), archive),
             lambda file: bundle.unpack(Path(path), root, archive)):
    try:
        with open(path, 'rb') as file:
            read(file)
    except TunecastError as error:
        print(error.reason)
"""


def chunks(path: Path, size: int = 7) -> list[bytes]:
    data = path.read_bytes()
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_a_whole_archive_passes(tmp_path: Path) -> None:
    (tmp_path / "triton").mkdir()
    files = {"triton/a": os.urandom(2 * CUT + 5), "triton/b": b""}
    for path, data in files.items():
        (tmp_path / path).write_bytes(data)
    archive = bundle.pack(tmp_path, [*files], tmp_path / "archive")
    inspect(chunks(tmp_path / "archive", 2**16), archive)


def test_what_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    archive = forged(tmp_path / "archive", ENTRIES)
    data = (tmp_path / "archive").read_bytes()
    for size in range(len(data)):
        with pytest.raises((MalformedError, UnsafeArchiveError)):
            inspect([data[:size]], archive)
    inspect([data], archive)


def test_what_goes_on_after_its_end_is_refused(tmp_path: Path) -> None:
    body = b"".join(plain(e) for e in ENTRIES) + END
    archive = forged(tmp_path / "archive", ENTRIES, body)
    inspect(chunks(tmp_path / "archive"), archive)
    for more in (b"\0", b"\0" * 512, plain(entry("triton/z"))):
        with pytest.raises(UnsafeArchiveError, match="more than its index lists"):
            inspect([(tmp_path / "archive").read_bytes(), more], archive)
        archive = forged(tmp_path / "archive", ENTRIES, body + more)
        with pytest.raises(UnsafeArchiveError, match="more than its index lists"):
            inspect(chunks(tmp_path / "archive"), archive)
        archive = forged(tmp_path / "archive", ENTRIES)


def test_a_tar_without_its_end_is_refused(tmp_path: Path) -> None:
    archive = forged(tmp_path / "archive", ENTRIES, b"".join(plain(e) for e in ENTRIES) + b"x" * len(END))
    with pytest.raises(UnsafeArchiveError):
        inspect(chunks(tmp_path / "archive"), archive)


def test_empty_members_hold_nothing_and_are_no_harm(tmp_path: Path) -> None:
    """The last member of a valid archive is empty if its tar is a multiple of CUT."""
    size = CUT - 512 - len(END)
    members = [deflate(plain(entry("triton/a", bytes(size))) + END), deflate(b"")]
    index = index_of([b'["triton/a",%d,0,false]' % size], [b"%d" % len(member) for member in members])
    archive = written(tmp_path / "archive", index, *members, unpacked=size)
    inspect(chunks(tmp_path / "archive", 1000), archive)


def test_an_archive_that_is_refused_leaves_no_thread(tmp_path: Path) -> None:
    """A thread that the garbage collector ends may be joined at a point where this blocks forever."""
    before = threading.active_count()
    large = [entry("triton/a"), entry("triton/b", bytes(3 * CUT))]
    for tar in (plain(large[0]), b"".join(map(plain, large)), b"x" * 9999):
        archive = forged(tmp_path / "archive", large, tar)
        with pytest.raises((MalformedError, UnsafeArchiveError)) as raised:
            inspect(chunks(tmp_path / "archive", 2**16), archive)
        (tmp_path / "root").mkdir(exist_ok=True)
        with pytest.raises((MalformedError, UnsafeArchiveError)) as again:
            bundle.unpack(tmp_path / "archive", tmp_path / "root", archive)
        assert threading.active_count() == before, (raised, again)


def test_no_archive_uses_more_memory_than_the_limit(tmp_path: Path) -> None:
    for name, (path, archive) in bombs(tmp_path).items():
        numbers = map(str, (archive.size, archive.unpacked, archive.files))
        command = [sys.executable, "-c", READ + PEAK, str(path), archive.layer, archive.digest, *numbers]
        environment = {"PYTHONPATH": str(ROOT / "core")}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
        *reasons, peak = done.stdout.splitlines()
        assert len(reasons) == 2, name
        assert {*reasons} <= {"UnsafeArchive", "Malformed"}, name
        assert int(peak.split()[1]) < MEBIBYTES * 1024, f"{name}: {peak} KiB"
