"""The files that a start wrote, and the verdict on them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tunecast_core.bundle.snapshot import judge, rebuilt_files, take

KERNEL = "triton/a"
TACTICS = "vllm/flashinfer_autotune_cache/0.6.14/90a/h/autotune_configs.json"
REWRITTEN = "vllm/torch_compile_cache/h/rank_0_0/vllm_compile_cache.py"
AOT = "vllm/torch_compile_cache/torch_aot_compile/h/inductor_cache"
RESTORED = f"{AOT}/a/1.best_config"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in (KERNEL, REWRITTEN, RESTORED, TACTICS, "triton/x.lock", "vllm/unknown"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"data")
        os.utime(tmp_path / path, ns=(0, 1))
    return tmp_path


def nothing(_root: Path) -> None:
    pass


def write(path: str, data: bytes, mtime_ns: int = 1) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        os.utime(root / path, ns=(0, mtime_ns))

    return change


def replace(root: Path) -> None:
    (root / "new").write_bytes(b"data")
    os.utime(root / "new", ns=(0, 1))
    (root / "new").rename(root / KERNEL)


@pytest.mark.parametrize(
    ("change", "rebuilt"),
    [
        pytest.param(nothing, {}, id="nothing"),
        pytest.param(write(KERNEL, b"data", 2), {"Triton": [KERNEL]}, id="a nanosecond later"),
        pytest.param(write(KERNEL, b"longer"), {"Triton": [KERNEL]}, id="another size"),
        pytest.param(replace, {"Triton": [KERNEL]}, id="another inode"),
        pytest.param(write("triton/0", b""), {"Triton": ["triton/0"]}, id="new"),
        pytest.param(write(REWRITTEN, b"data", 2), {}, id="rewritten alike"),
        pytest.param(write(REWRITTEN, b"daTa"), {"TorchCompile": [REWRITTEN]}, id="rewritten otherwise"),
        pytest.param(write(RESTORED, b"daTa", 2), {}, id="restored from an AOT artefact"),
        pytest.param(write(f"{AOT}/b/2.best_config", b""), {"TorchCompile": [f"{AOT}/b/2.best_config"]}, id="measured"),
        pytest.param(write(TACTICS, b"data", 2), {}, id="tactics written back"),
        pytest.param(write(TACTICS, b"daTa"), {"FlashInferAutotune": [TACTICS]}, id="other tactics"),
        pytest.param(write("triton/x.lock", b"22"), {}, id="a lock"),
        pytest.param(write("vllm/unknown", b"22"), {}, id="no layer's"),
        pytest.param(lambda root: (root / KERNEL).unlink(), {}, id="removed"),
    ],
)
def test_rebuilt_files_by_layer(root: Path, change: Callable[[Path], None], rebuilt: dict[str, list[str]]) -> None:
    before = take(root)
    change(root)
    assert rebuilt_files(before, take(root), ()) == rebuilt
    assert rebuilt_files(before, take(root), ["Triton", "TorchCompile", "FlashInferAutotune"]) == {}


@pytest.mark.parametrize(
    ("brought", "rebuilt", "words", "verdict"),
    [
        (3, [], None, "Hit"),
        (3, ["a"], None, "Partial"),
        (3, [], "load failure", "Partial"),
        (3, ["a", "b", "c"], None, "Miss"),
        (3, ["a", "b", "c", "d"], "load failure", "Miss"),
        (1, ["new"], None, "Miss"),
    ],
)
def test_verdicts(brought: int, rebuilt: list[str], words: str | None, verdict: str) -> None:
    proof = judge("Triton", brought, rebuilt, words)
    assert (proof.verdict, proof.files, proof.rebuilt) == (verdict, brought, len(rebuilt))
    assert bool(proof.reason) == (verdict != "Hit")
    assert words is None or proof.reason == words


def test_examples_are_few() -> None:
    proof = judge("Triton", 100, [f"triton/{i}" for i in range(50)], None)
    assert proof.examples == tuple(f"triton/{i}" for i in range(5))
    assert "triton/0 and 49 more" in proof.reason
