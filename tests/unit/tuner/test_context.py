"""Values that a rank keeps out of its messages and out of bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tunecast_core.records.job import JobSettings
from tunecast_tuner.rank.context import Context

HUB = "hf_0123456789abcdef"
SETTINGS = JobSettings(
    "job", "key", 1, "host", 1, "Engine", "/m", 1.0, command=("vllm", "serve", "Qwen/Qwen3-8B", "--port=8000"),
    secret_variables=("FROM_A_SECRET", "AWS_REGION", "MODEL", "NOT_SET"),
)  # fmt: skip
ENVIRON = {
    "FROM_A_SECRET": "some-value",
    "AWS_REGION": "xx-private-7b",
    "MODEL": "Qwen/Qwen3-8B",
    "HF_TOKEN": HUB,  # the image may set it
    "HTTPS_PROXY": "http://user:hunter-two@proxy:3128",
    "TOKENIZER_MODE": "mistral",
    "MAX_NUM_BATCHED_TOKENS": "131072",
    "PATH": "/usr/bin:/bin",
}


def context(**changes: Any) -> Context:
    settings = JobSettings(**{**{name: getattr(SETTINGS, name) for name in SETTINGS.__slots__}, **changes})
    nothing = cast("Any", None)
    return Context(settings, nothing, nothing, nothing, nothing, ENVIRON, Path("/tmp"))


def test_variables_from_secrets_or_named_like_secrets_are_redacted() -> None:
    assert context().secrets.keys() == {"FROM_A_SECRET", "AWS_REGION", "MODEL", "HF_TOKEN", "HTTPS_PROXY"}


def test_bundles_may_hold_what_is_no_secret_though_it_comes_from_a_secret() -> None:
    assert context().unstageable.keys() == {"FROM_A_SECRET", "HF_TOKEN", "HTTPS_PROXY"}


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "chat"])
def test_a_models_name_keeps_no_layer_out(name: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{name}\n")
    found = context(command=(*SETTINGS.command, "--served-model-name", "chat"), secret_paths=(str(tmp_path),))
    assert str(tmp_path / "token") not in found.unstageable
    assert str(tmp_path / "token") in found.secrets


def test_files_of_mounted_secrets_are_secrets_but_for_what_is_kept_beside_them(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    for name in ("password", "username", "ca.crt"):
        (tmp_path / "..data" / name).write_text("hunter-two")
        (tmp_path / name).symlink_to(f"..data/{name}")
    found = context(secret_paths=(str(tmp_path),))
    files = {name.rpartition("/")[2] for name in found.secrets.keys() - ENVIRON.keys()}
    assert files == {"password", "username", "ca.crt"}
    staged = {name.rpartition("/")[2] for name in found.unstageable.keys() - ENVIRON.keys()}
    assert staged == {"password", "ca.crt"}
