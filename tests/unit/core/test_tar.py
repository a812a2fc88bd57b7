"""Tar headers, against the standard library's."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tunecast_core.bundle import tar

NAMES = st.lists(st.text("aé", min_size=1, max_size=120), min_size=1, max_size=6).map("/".join)


def standard(path: str, size: int, mode: int) -> bytes:
    info = tarfile.TarInfo(path)
    info.size, info.mode = size, mode
    try:
        return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError:
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


@given(NAMES, st.integers(0, 2**62), st.booleans())
@example("a" * 100, 8**11 - 1, False)
@example("a" * 101, 8**11, True)
@example("a" * 155 + "/" + "b" * 100, 0, True)
@example("a" * 156 + "/" + "b" * 100, 0, True)
@example("a" * 155 + "/" + "b" * 101, 0, True)
@example("d/" * 200 + "f", 1, False)
def test_headers_are_those_of_the_standard_library(path: str, size: int, executable: bool) -> None:
    made = tar.header(path, size, executable=executable)
    assert made == standard(path, size, 0o755 if executable else 0o644)
    assert len(made) % tar.BLOCK == 0


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        tar.header("\udcff", 0, executable=False)
