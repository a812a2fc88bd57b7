"""The rank program's files, which an engine of any user must be able to read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunecast_init.tools import copy_tools


@pytest.fixture
def _strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_strict_umask")
def test_any_user_can_read_the_tools_with_any_umask(tmp_path: Path) -> None:
    source, destination = tmp_path / "source", tmp_path / "destination"
    (source / "package" / "inner").mkdir(parents=True)
    for name in ("__main__.py", "package/inner/module.py"):
        (source / name).write_text("pass\n")
    destination.mkdir()
    assert [copy_tools(source, destination) for _ in range(2)] == [2, 2]
    modes = {str(p.relative_to(destination)): p.stat().st_mode & 0o777 for p in destination.rglob("*")}
    assert modes == {
        "__main__.py": 0o644,
        "package": 0o755,
        "package/inner": 0o755,
        "package/inner/module.py": 0o644,
    }
