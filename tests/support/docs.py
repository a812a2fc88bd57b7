"""Tables of the pages in docs/, so that tests hold them to what the code does."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def tables(page: str) -> dict[str, list[list[str]]]:
    """By section, the rows of its tables: their cells, without code marks around a whole cell; heads are left out."""
    parts = re.split(r"^## (.+)$", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]
    return {title: _rows(text) for title, text in zip(parts[::2], parts[1::2], strict=True)}


def _rows(text: str) -> list[list[str]]:
    lines = text.splitlines()
    heads = {number for number, line in enumerate(lines[1:]) if re.fullmatch(r"\|(-+\|)+", line)}
    skipped = heads | {number + 1 for number in heads}
    found = (line for number, line in enumerate(lines) if line.startswith("| ") and number not in skipped)
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in found]
