"""Each line of docs/compatibility.md records how its claim was verified; the tests that it names exist."""

from __future__ import annotations

import re

import pytest

from support.docs import missing_tests, named_tests, tables

# integration/test_pods.py compares the table of pods with their behaviour.
ROWS = [row for title, rows in tables("compatibility.md").items() if title != "Pods" for row in rows]


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_each_line_records_how_it_was_verified(row: list[str]) -> None:
    what, how, _ = row
    found = re.match(r"(run|alike|read): ", how)
    assert found, f"{what}: begin with run, alike or read"
    assert bool(named_tests(how)) == (found[1] != "read"), f"{what}: name tests where something was run, and only there"
    assert missing_tests(how) == []


def test_the_page_has_lines() -> None:
    assert len(ROWS) >= 3
