"""Every input that fuzzing kept, and a valid one for each target, gone through once more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.targets import TARGETS, seeds

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"


def inputs(target: str) -> Iterator[bytes]:
    yield from (b"", b"{}", b"[]", b"null", b"\xff")
    yield from seeds()[target]
    yield from (path.read_bytes() for path in sorted((CORPUS / target).glob("*")))


@pytest.mark.parametrize("target", TARGETS)
def test_only_our_own_errors_come_out(target: str) -> None:
    for data in inputs(target):
        TARGETS[target](data)
