"""Directories that ext4 should allocate apart."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from tunecast_core.bundle import pack as bundle
from tunecast_core.bundle import spread


def flags(directory: Path) -> int:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        (found,) = struct.unpack("=I", fcntl.ioctl(descriptor, spread._GET_FLAGS, bytes(4)))
        return int(found)
    finally:
        os.close(descriptor)


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Path, Any]:
    (tmp_path / "source/triton/a").mkdir(parents=True)
    (tmp_path / "source/triton/a/k").write_bytes(b"1")
    (tmp_path / "root").mkdir()
    return tmp_path / "archive", bundle.pack(tmp_path / "source", ["triton/a/k"], tmp_path / "archive")


def test_every_directory_of_a_bundle_is_spread_and_nothing_else_changes(
    tmp_path: Path, packed: tuple[Path, Any]
) -> None:
    try:
        before = flags(tmp_path)
        spread.spread(tmp_path)
        supported = flags(tmp_path) == before | spread._TOP_OF_TREE
    except OSError:
        supported = False
    if not supported:
        pytest.skip("this file system has no such flag")
    bundle.unpack(packed[0], tmp_path / "root", packed[1])
    below = before | spread._TOP_OF_TREE
    assert [flags(tmp_path / "root" / name) for name in ("triton", "triton/a")] == [below, below]


def test_a_file_system_without_the_flag_is_accepted(
    tmp_path: Path, packed: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    bundle.unpack(packed[0], tmp_path / "root", packed[1])
    assert (tmp_path / "root/triton/a/k").read_bytes() == b"1"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="link"):
        spread.spread(tmp_path / "link")
