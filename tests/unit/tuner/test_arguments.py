from __future__ import annotations

import pytest

from tunecast_tuner.arguments import number, option


@pytest.mark.parametrize(
    ("command", "value"),
    [
        (["--max-model-len=512"], "512"),
        (["--max-model-len", "512"], "512"),
        (["--max_model_len", "512"], "512"),
        (["--max_model_len=512"], "512"),
        (["--max-model-len=1", "--max-model-len=2"], "2"),
        (["--max-model-length=1"], None),
        (["--max-model-len"], ""),
        ([], None),
    ],
)
def test_option(command: list[str], value: str | None) -> None:
    assert option(["vllm", "serve", "m", *command], "--max-model-len") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("512", 512), ("8k", 8000), ("8K", 8192), ("1.5k", 1500), ("auto", None), ("-1", None), ("0", None)],
)
def test_number(text: str, value: int | None) -> None:
    assert number([f"--n={text}"], "--n") == value
