"""Each line of the table in docs/security.md names tests, all of which exist."""

from __future__ import annotations

import pytest

from support.docs import missing_tests, named_tests, tables

ROWS = tables("security.md")["What each actor can and can't do"]


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_every_line_names_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 3
    assert len(named_tests(row[2])) == row[2].count("::") > 0
    assert missing_tests(row[2]) == []


def test_no_line_was_overlooked() -> None:
    assert len(ROWS) > 40
