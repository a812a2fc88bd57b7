"""Reads the tables of the pages in docs/, so that tests can compare them with the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
DOCS = TESTS.parent / "docs"


def tables(page: str) -> dict[str, list[list[str]]]:
    """Returns the rows of the tables by section, without headers and without code marks around a whole cell."""
    parts = re.split(r"^## (.+)$", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]
    return {title: _rows(text) for title, text in zip(parts[::2], parts[1::2], strict=True)}


def _rows(text: str) -> list[list[str]]:
    lines = text.splitlines()
    heads = {number for number, line in enumerate(lines[1:]) if re.fullmatch(r"\|(-+\|)+", line)}
    skipped = heads | {number + 1 for number in heads}
    found = (line for number, line in enumerate(lines) if line.startswith("| ") and number not in skipped)
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in found]


def named_tests(text: str) -> list[tuple[str, str]]:
    """Returns the tests that a text names as `path::test`, with paths relative to tests/."""
    return re.findall(r"`([\w/]+\.py)::(test_\w+)`", text)


def missing_tests(text: str) -> list[str]:
    """Returns the named tests that do not exist."""
    return [f"{path}::{name}" for path, name in named_tests(text) if name not in _functions(TESTS / path)]


def _functions(path: Path) -> set[str]:
    if not path.exists():
        return set()
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
