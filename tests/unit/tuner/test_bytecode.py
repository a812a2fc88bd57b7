from __future__ import annotations

import importlib.util
import os
import py_compile
import sys
from pathlib import Path

import pytest

from tunecast_tuner.engine import bytecode
from tunecast_tuner.engine.bytecode import Count
from tunecast_tuner.engine.interpreter import Interpreter

MAGIC = importlib.util.MAGIC_NUMBER


def source(directory: Path, name: str, *, compiled: bool = False) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.py"
    path.write_text("x = 1\n")
    if compiled:
        py_compile.compile(str(path))
    return path


def cached(path: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(path)))


@pytest.mark.parametrize(
    ("sources", "compiled", "missing"),
    [(9, 6, True), (9, 7, False), (33_810, 20_168, True), (0, 0, False), (1, 0, True)],
)
def test_much_missing(sources: int, compiled: int, missing: bool) -> None:
    assert Count(sources, compiled).much_missing == missing


def test_scan(tmp_path: Path) -> None:
    source(tmp_path / "site" / "package", "a", compiled=True)
    source(tmp_path / "site" / "package", "b")
    source(tmp_path / "site", "c")
    paths = (str(tmp_path / "site"), str(tmp_path / "site" / "package"), str(tmp_path / "nosuch.zip"))
    known = Interpreter("3", str(sys.implementation.cache_tag), MAGIC.hex(), paths)
    assert bytecode.scan(known) == Count(3, 1)


def test_valid_bytecode_is_what_the_interpreter_accepts(tmp_path: Path) -> None:
    path = source(tmp_path, "a", compiled=True)
    assert bytecode.valid(path, cached(path), MAGIC)
    assert not bytecode.valid(path, cached(path), b"\0\0\0\0")
    os.utime(path, ns=(10**18, 10**18))
    assert not bytecode.valid(path, cached(path), MAGIC)
    py_compile.compile(str(path), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert bytecode.valid(path, cached(path), MAGIC)
    cached(path).write_bytes(b"short")
    assert not bytecode.valid(path, cached(path), MAGIC)
    assert not bytecode.valid(path, tmp_path / "nosuch", MAGIC)


def test_imported_compares_with_the_images_own(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    own, lacking = source(tmp_path / "image", "own", compiled=True), source(tmp_path / "image", "lacking")
    made = source(mount / "torchinductor", "made")
    for path in (own, lacking, made):
        target = mount / "pycache" / path.parent.relative_to("/") / cached(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"")
    assert bytecode.imported(str(mount)) == Count(2, 1)


@pytest.mark.parametrize(
    ("environment", "excluded", "words"),
    [
        ({}, (), None),
        ({"PYTHONDONTWRITEBYTECODE": "1"}, (), "PYTHONDONTWRITEBYTECODE"),
        ({}, ("PythonBytecode",), "excluded"),
    ],
)
def test_refusal(environment: dict[str, str], excluded: tuple[str, ...], words: str | None) -> None:
    reason = bytecode.refusal(environment, excluded)
    assert reason is None if words is None else words in str(reason)
