from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tunecast_tuner.peers.transfer import chunk_lengths

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("size", "chunks"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (20, [10, 10]), (25, [10, 10, 5])]
)
def test_chunk_lengths(size: int, chunks: list[int]) -> None:
    assert list(chunk_lengths(size, 10)) == chunks


def test_a_single_rank_needs_the_standard_library_alone() -> None:
    code = (
        "import sys, tunecast_tuner.rank.main as _; "
        "print([m for m in sys.modules if m.partition('.')[0] in ('torch', 'numpy')])"
    )
    paths = f"{ROOT / 'tuner'}:{ROOT / 'core'}"
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-c", code], env={"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
