from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunecast_core.records import job
from tunecast_core.records.codec import canonical, decode
from tunecast_core.records.manifest import Archive, LayerNote, Provenance
from tunecast_tuner.rank import settings
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.rank.main import failed, termination_message
from tunecast_tuner.rank.settings import read_invocation

SETTINGS = job.JobSettings("uid-1", "key", 2, "host", 1, "Engine", "/nosuch", 60.0, ("vllm",))


def test_a_termination_message_leaves_the_large_parts_out() -> None:
    result = job.RankResult(0, True, "Proved", "ok", archives=(Archive("A", "0", 1, 1, 1),), environment={"A": "b"})
    message = json.loads(termination_message(result))
    assert message["archives"] == []
    assert message["environment"] == {"A": "b"}


@pytest.mark.parametrize("text", ["é" * 9000, "x" * 100_000, "\n" * 5000])
def test_a_termination_message_always_fits(text: str) -> None:
    notes = tuple(LayerNote(f"L{i}", "Cached", "y" * 200) for i in range(20))
    result = job.RankResult(0, False, job.INTERNAL, text, notes=notes, provenance=Provenance("3", {"a": "b" * 900}))
    data = termination_message(result)
    assert len(data) <= 4096
    assert decode(job.RankResult, data, "it").reason == job.INTERNAL


def test_a_failure_names_the_lost_rank() -> None:
    assert failed(0, AttemptError(job.PEER_LOST, "gone", 1)) == job.RankResult(0, False, job.PEER_LOST, "gone", 1)


def test_the_rank_comes_from_the_job_and_not_into_the_engine() -> None:
    environ = {"JOB_COMPLETION_INDEX": "3", "PATH": "/bin"}
    assert settings.read_invocation([], environ).rank == 3
    assert settings.read_invocation(["--rank=1"], environ).rank == 1
    assert settings.engine_environment(environ) == {"PATH": "/bin"}
    with pytest.raises(AttemptError, match="not a rank"):
        settings.read_invocation([], {})


def test_settings_are_waited_for(tmp_path: Path) -> None:
    def write(_seconds: float) -> None:
        (tmp_path / job.SETTINGS_FILE).write_bytes(canonical(SETTINGS))

    assert settings.load(tmp_path, 60.0, write) == SETTINGS


def test_settings_that_do_not_come_or_are_broken(tmp_path: Path) -> None:
    with pytest.raises(AttemptError, match="did not appear"):
        settings.load(tmp_path)
    (tmp_path / job.SETTINGS_FILE).write_text("{}")
    with pytest.raises(AttemptError, match="lacks the field") as caught:
        settings.load(tmp_path)
    assert caught.value.reason == job.BAD_SETTINGS


@pytest.mark.parametrize(
    ("change", "rank", "words"),
    [
        ({}, 2, "not one of the 2 ranks"),
        ({"command": ()}, 0, "no engine command"),
        ({"mount_path": "{tmp}/full"}, 0, "empty directory"),
        ({"mount_path": "{tmp}/nosuch"}, 0, "empty directory"),
    ],
)
def test_settings_that_no_attempt_works_with(tmp_path: Path, change: dict[str, object], rank: int, words: str) -> None:
    (tmp_path / "full" / "vllm").mkdir(parents=True)
    values = {name: v.format(tmp=tmp_path) if isinstance(v, str) else v for name, v in change.items()}
    given = {"mount_path": str(tmp_path / "full" / "vllm"), **values}
    changed = job.JobSettings(**{**{f: getattr(SETTINGS, f) for f in SETTINGS.__slots__}, **given})
    with pytest.raises(AttemptError, match=words) as caught:
        settings.check(changed, rank)
    assert caught.value.reason == job.BAD_SETTINGS


def test_the_engines_command_line_stands_behind_two_dashes() -> None:
    found = read_invocation(
        ["--silence=3", "--", "vllm", "serve", "m", "--", "--rank=9"], {"JOB_COMPLETION_INDEX": "1"}
    )
    assert (found.rank, found.silence) == (1, 3.0)
    assert found.command == ("vllm", "serve", "m", "--", "--rank=9")
