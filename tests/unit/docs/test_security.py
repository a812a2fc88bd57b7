"""Each line of the table in docs/security.md names tests, all of which there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from support.docs import tables

TESTS = Path(__file__).resolve().parents[2]
ROWS = tables("security.md")["What each can and can't do"]


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_every_line_is_shown_by_tests_that_there_are(row: list[str]) -> None:
    assert len(row) == 3
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row[2])
    assert len(named) == row[2].count("::") > 0
    for path, name in named:
        assert name in functions(TESTS / path), f"{path} has no {name}"


def test_no_line_was_overlooked() -> None:
    assert len(ROWS) > 40
