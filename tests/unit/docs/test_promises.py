"""docs/promises.md names the tests of each promise of the pages, and each reason occurs in a test."""

from __future__ import annotations

import re
from functools import cache

import pytest

from support.docs import DOCS, TESTS, missing_tests, named_tests, tables

PROMISES = tables("promises.md")
SILENT = "Sections that promise nothing"
PAGES = [page for page in PROMISES if page != SILENT]
ROWS = [(page, row) for page in PAGES for row in PROMISES[page]]
# Pages and sections whose tables name tests themselves, or have tests of their own.
HELD = {
    "security.md": {
        "What each actor can and can't do", "A tenant who may write InferenceDeployments",
        "A tenant who may write other objects of the namespace too", "A rank, or an attacker who controls one",
        "An attacker who can write to the bucket, without the private key", "A tenant of another namespace",
        "A replica's engine", "Others",
    },
    "troubleshooting.md": {"InferenceDeployment", "StartupCache", "Attempts", "Init containers", "The operator"},
    "metrics.md": {"Metrics", "Alerts"},
}  # fmt: skip
REASONS = (
    "InferenceDeployment",
    "StartupCache",
    "Attempts",
    "Init containers",
    "The operator",
    "Pods that don't start",
)
BUGS = {"Failed"}  # the default reason of errors, which no code raises


def words(text: str) -> str:
    """Returns the text without line breaks."""
    return re.sub(r"\s+", " ", text)


@cache
def sections(page: str) -> dict[str, str]:
    """Returns the text of a page by its headings; the text before the first one is the introduction."""
    text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^#{1,6} (.+)$", text, flags=re.MULTILINE)[1:]
    return {title: words(found) for title, found in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize(("page", "row"), ROWS, ids=[f"{page}: {row[0][:50]}" for page, row in ROWS])
def test_each_promise_is_in_its_page_and_records_how_it_was_verified(page: str, row: list[str]) -> None:
    promise, how = row
    whole = words((DOCS / page).read_text())
    assert words(promise) in whole, f"{page} no longer has this text: change docs/promises.md with it"
    named = named_tests(how)
    assert len(named) == how.count("::")
    assert named or re.fullmatch(r"read: .{10,}", how), "name a test, or what was read"
    assert missing_tests(how) == []


@pytest.mark.parametrize("page", PAGES)
def test_no_section_was_overlooked(page: str) -> None:
    silent = {f"{where}: {title}" for where, title in PROMISES[SILENT]}
    promises = [words(row[0]) for row in PROMISES[page]]
    for title, text in sections(page).items():
        if title in HELD.get(page, set()) or f"{page}: {title}" in silent or not text.strip():
            continue
        assert any(promise in text for promise in promises), f"{page}, {title!r}: which of its promises are tested?"


def reasons() -> set[str]:
    page = tables("troubleshooting.md")
    cells = [row[0] for title in REASONS for row in page[title]]
    found = {word for cell in cells for word in re.findall(r"`([A-Z]\w+)`", cell)}
    return {word for word in found if re.fullmatch(r"(?:[A-Z][a-z]+)+", word)} - BUGS


@cache
def sources() -> str:
    """Returns the tests in which a reason may occur, without those that only compare the page with the code."""
    paths = (path for path in TESTS.rglob("*.py") if path.name != "test_reasons.py")
    return "\n".join(path.read_text() for path in paths if not {"docs", "fuzz"} & {*path.relative_to(TESTS).parts})


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_each_reason_is_seen_in_a_test(reason: str) -> None:
    constant = re.sub(r"(?<!^)(?=[A-Z])", "_", reason).upper()
    assert re.search(rf"\b({reason}|{constant})\b", sources()), f"no test is about {reason}"
