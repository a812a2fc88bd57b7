"""Plants a secret's value wherever an engine can print it, and checks that it is stored nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ranks.attempt import Staged, attempt, staging

pytestmark = pytest.mark.integration
CANARY = "sk-canary-0123456789"
NAME = "HUB_API_KEY"


@pytest.fixture
def staged() -> Iterator[Staged]:
    with staging() as server:
        yield server


def everywhere(directory: Path, staged: Staged) -> dict[str, bytes]:
    """Returns everything that ranks write: logs, termination messages, and every object in S3."""
    files = [*directory.glob("rank-*/log"), *directory.glob("rank-*/termination-log")]
    return {**{str(path): path.read_bytes() for path in files}, **staged.objects}


@pytest.mark.parametrize("refuses", [False, True])
def test_no_log_message_result_or_bundle_holds_it(tmp_path: Path, staged: Staged, refuses: bool) -> None:
    arguments = [f"--api-key={CANARY}", *(["--refuses-key"] if refuses else [])]
    variables = {rank: {NAME: CANARY} for rank in range(2)}
    with attempt(tmp_path, staged, 2, *arguments, variables=variables, secret_variables=(NAME,)) as ranks:
        results = [rank.wait() for rank in ranks]
    found = everywhere(tmp_path, staged)
    assert [name for name, data in found.items() if CANARY.encode() in data] == []
    log = found[str(tmp_path / "rank-0" / "log")].decode()
    assert "non-default args: {'api_key': ['[redacted]']}" in log, "the engine printed the value"
    if refuses:
        assert "the hub refused [redacted]" in results[0].message
        return
    staged_result = staged.result(0)
    assert "Triton" not in {archive.layer for archive in staged_result.archives}
    [note] = [note for note in staged_result.notes if note.layer == "Triton"]
    assert (note.state, NAME in note.reason) == ("Unsafe", True)
