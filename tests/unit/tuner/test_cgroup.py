from __future__ import annotations

from pathlib import Path

import pytest

from tunecast_tuner.rank.cgroup import oom_kills


@pytest.mark.parametrize(
    ("name", "text", "kills"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 81\noom 2\noom_kill 3\noom_group_kill 0\n", 3),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", 4),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", 0),
        ("other", "oom_kill 3", 0),
    ],
)
def test_oom_kills_are_counted_by_the_kernel(tmp_path: Path, name: str, text: str, kills: int) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert oom_kills(tmp_path) == kills
