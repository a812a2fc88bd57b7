"""The mount path is emptied of any content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunecast_core.errors import InstallError
from tunecast_init.install import TRASH, begin, clear, finish


def test_everything_goes_and_the_mount_path_stays(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/c").write_bytes(b"1")
    (root / "file").write_bytes(b"1")
    outside.mkdir()
    (outside / "kept").write_bytes(b"1")
    (root / "link").symlink_to(outside)
    (root / "a/link").symlink_to(outside)
    clear(root)
    assert [*root.iterdir()] == []
    assert (outside / "kept").exists()


def test_what_cannot_be_removed_is_moved_out_of_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "triton").mkdir()
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    clear(tmp_path)
    (tmp_path / "triton").mkdir()
    clear(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [f"{TRASH}0", f"{TRASH}1"]  # noqa: PTH208


def test_a_mount_path_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="nowhere"):
        clear(tmp_path / "nowhere")


def test_a_run_that_never_ended_is_seen_by_the_next_one(tmp_path: Path) -> None:
    assert not begin(tmp_path)
    clear(tmp_path)
    assert begin(tmp_path), "clearing leaves the mark"
    finish(tmp_path)
    assert [*tmp_path.iterdir()] == []
    finish(tmp_path)
    assert not begin(tmp_path)


def test_a_marker_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="nowhere"):
        begin(tmp_path / "nowhere")
    (tmp_path / ".tunecast-running").mkdir()
    with pytest.raises(InstallError, match="writable volume"):
        finish(tmp_path)
