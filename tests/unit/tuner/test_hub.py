"""The commit of a model, read from the hub's cache directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunecast_core.engine.command_line import read
from tunecast_tuner.engine.hub import commit

SHA = "0123456789abcdef0123456789abcdef01234567"
SERVE = ["vllm", "serve", "Qwen/Qwen3-8B"]


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """Makes a hub's cache with one model at two revisions."""
    tmp_path = tmp_path / "huggingface-home"
    folder = tmp_path / "hub" / "models--Qwen--Qwen3-8B"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(SHA)
    (folder / "refs" / "v2").write_text(f"{SHA[::-1]}\n")
    (folder / "snapshots" / SHA).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (SERVE, SHA),
        ([*SERVE, "--revision=v2"], SHA[::-1]),
        ([*SERVE, "--revision", SHA], SHA),
        ([*SERVE, "--revision=v3"], None),
        (["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "Qwen/Qwen3-8B"], SHA),
        (["vllm", "serve", "Qwen/Other"], None),
        (["vllm", "serve", "/models/tiny"], None),
        (["vllm", "serve", "models"], None),
    ],
)
def test_the_commit(hub: Path, command: list[str], found: str | None) -> None:
    assert commit(read(command), {"HF_HOME": str(hub)}) == found


@pytest.mark.parametrize(
    "environ",
    [
        {"HF_HOME": "{hub}"},
        {"HF_HUB_CACHE": "{hub}/hub", "HF_HOME": "/elsewhere"},
        {"HUGGINGFACE_HUB_CACHE": "{hub}/hub"},
        {"XDG_CACHE_HOME": "{hub}/.."},
        {"HOME": "{hub}/../home"},
    ],
)
def test_where_the_cache_is(hub: Path, environ: dict[str, str]) -> None:
    for link in (hub.parent / "huggingface", hub.parent / "home" / ".cache" / "huggingface"):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(hub)
    assert commit(read(SERVE), {name: value.format(hub=hub) for name, value in environ.items()}) == SHA


def test_where_the_cache_of_a_user_without_a_home_is(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hub.parent)
    (hub.parent / "~" / ".cache").mkdir(parents=True)
    (hub.parent / "~" / ".cache" / "huggingface").symlink_to(hub)
    assert commit(read(SERVE), {}) == SHA
