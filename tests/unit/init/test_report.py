"""The termination message: always written, never too long."""

from __future__ import annotations

import pytest

from tunecast_core.records import report
from tunecast_core.records.codec import decode
from tunecast_core.records.report import InitReport
from tunecast_init.__main__ import encode


@pytest.mark.parametrize("letter", ["x", "é", "\n", '"', "\u2028", "😀"])
@pytest.mark.parametrize("length", [0, 3000, 3900, 4096, 100_000])
def test_a_report_fits(letter: str, length: int) -> None:
    given = InitReport("Cold", "StoreUnavailable", letter * length, "k" * 52, seconds={"total": 1.5})
    data = encode(given)
    assert len(data) <= report.LIMIT
    read = decode(InitReport, data, "it")
    assert (read.reason, read.seconds) == (given.reason, given.seconds)
    assert read.message.rstrip(".") == given.message[: len(read.message.rstrip("."))]
    assert read == given or len(data) > report.LIMIT * 0.4
