"""Every input that fuzzing kept, and a valid one for each target, gone through once more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.seeds import seeds
from fuzz.targets import TARGETS

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"


def inputs(target: str) -> Iterator[bytes]:
    yield from (b"", b"{}", b"[]", b"null", b"\xff")
    yield from seeds()[target]
    yield from (path.read_bytes() for path in sorted((CORPUS / target).glob("*")))


def test_every_target_begins_with_something_valid() -> None:
    assert seeds().keys() == TARGETS.keys()


@pytest.mark.parametrize("target", TARGETS)
def test_only_our_own_errors_come_out(target: str) -> None:
    for data in inputs(target):
        TARGETS[target](data)
