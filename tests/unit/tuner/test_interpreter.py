from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tunecast_core.hardware import Hardware
from tunecast_tuner.engine import interpreter


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "head",
    ["#!{python}\n", "#!/usr/bin/env python3.99\n", "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n"],
)
def test_a_script_names_its_interpreter(tmp_path: Path, head: str) -> None:
    python = executable(tmp_path / "bin" / "python3.99", "")
    script = executable(tmp_path / "bin" / "vllm", head.format(python=python) + "import vllm\n")
    assert interpreter.locate(script.name, {"PATH": str(script.parent)}) == str(python)


def test_an_interpreter_is_its_own(tmp_path: Path) -> None:
    python = executable(tmp_path / "python3", "")
    assert interpreter.locate("python3", {"PATH": str(tmp_path)}) == str(python)


@pytest.mark.parametrize("content", ["#!/bin/sh\nexec vllm\n", "\x7fELF", ""])
def test_anything_else_leaves_ours(tmp_path: Path, content: str) -> None:
    executable(tmp_path / "start", content)
    assert interpreter.locate("start", {"PATH": str(tmp_path)}) == sys.executable
    assert interpreter.locate("nosuch", {"PATH": str(tmp_path)}) == sys.executable


def test_ask() -> None:
    known = interpreter.ask(sys.executable, {})
    assert known is not None
    assert known.python == ".".join(map(str, sys.version_info[:3]))
    assert known.cache_tag == sys.implementation.cache_tag


def test_no_answer(tmp_path: Path) -> None:
    mute = executable(tmp_path / "python3", "#!/bin/sh\nexit 0\n")
    assert interpreter.ask(str(mute), {}) is None
    assert interpreter.ask(str(tmp_path / "nosuch"), {}) is None
    assert interpreter.provenance(None, None, Hardware()).python == "unknown"
