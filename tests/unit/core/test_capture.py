"""The files of a mount path that are captured, and those that never are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunecast_core.bundle.capture import STAGING, capture
from tunecast_core.records.manifest import LayerNote

SECRET = b"hf_0123456789"


def write(root: Path, path: str, data: bytes = b"data") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)


def test_files_are_sorted_into_layers(tmp_path: Path) -> None:
    for path in ("triton/b", "triton/a", "cuda/c", "vllm/unknown", f"{STAGING}/triton/d", "triton/x.lock"):
        write(tmp_path, path)
    captured = capture(tmp_path, (), {})
    assert captured.layers == {"CUDA": ("cuda/c",), "Triton": ("triton/a", "triton/b")}
    assert captured.notes == (LayerNote("CUDA", "Cached"), LayerNote("Triton", "Cached"))


def test_excluded_layers_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "triton/a")
    write(tmp_path, "cuda/c")
    assert capture(tmp_path, ["CUDA"], {}).layers == {"Triton": ("triton/a",)}


def test_links_devices_and_pipes_are_not_captured(tmp_path: Path) -> None:
    write(tmp_path, "triton/a")
    (tmp_path / "triton/link").symlink_to("/etc/passwd")
    (tmp_path / "triton/directory").symlink_to("/etc")
    os.mkfifo(tmp_path / "triton/pipe")
    assert capture(tmp_path, (), {}).layers == {"Triton": ("triton/a",)}


@pytest.mark.parametrize("before", [0, 2**20 - 5, 2**20 - 1, 2**20, 3 * 2**20])
def test_a_secret_anywhere_keeps_its_layer_out(tmp_path: Path, before: int) -> None:
    write(tmp_path, "triton/a", bytes(before) + SECRET + b"x")
    write(tmp_path, "cuda/c")
    captured = capture(tmp_path, (), {"HF_TOKEN": SECRET})
    assert captured.layers == {"CUDA": ("cuda/c",)}
    note = captured.notes[1]
    assert (note.layer, note.state) == ("Triton", "Unsafe")
    assert "HF_TOKEN" in note.reason
    assert "triton/a" in note.reason
    assert SECRET.decode() not in note.reason


@pytest.mark.parametrize("part", [b"second-line", b"hunter-two", b"fourth 'line'"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_each_line_of_a_secret_keeps_its_layer_out(tmp_path: Path, part: bytes, end: bytes) -> None:
    secret = end.join([b"first-line", b"second-line", b"password: hunter-two", b"fourth 'line'", b""])
    write(tmp_path, "triton/a", b"x" * 7 + part + b"x")
    write(tmp_path, "cuda/c", b"neither first line nor second")
    captured = capture(tmp_path, (), {"/etc/hub/credentials": secret, "OTHER": SECRET})
    assert captured.layers == {"CUDA": ("cuda/c",)}
    assert captured.notes[1].reason == "triton/a holds the value of /etc/hub/credentials"


@pytest.mark.parametrize("value", [b"true", b"131072", b"default", b"us-east-1", b"-----BEGIN PRIVATE KEY-----\n"])
def test_common_values_keep_no_layer_out(tmp_path: Path, value: bytes) -> None:
    write(tmp_path, "vllm/torch_compile_cache/a", b"config " + value)
    assert list(capture(tmp_path, (), {"HF_TOKEN": value}).layers) == ["TorchCompile"]


def test_a_secret_in_a_name_counts_and_is_not_repeated(tmp_path: Path) -> None:
    write(tmp_path, f"triton/{SECRET.decode()}/a")
    (note,) = capture(tmp_path, (), {"HF_TOKEN": SECRET}).notes
    assert note.state == "Unsafe"
    assert "HF_TOKEN" in note.reason
    assert SECRET.decode() not in note.reason


def test_values_that_are_too_short_are_not_searched(tmp_path: Path) -> None:
    write(tmp_path, "triton/a", b"12345")
    assert capture(tmp_path, (), {"PIN": b"12345", "EMPTY": b""}).layers == {"Triton": ("triton/a",)}


def test_a_name_that_cannot_be_packed_keeps_its_layer_out(tmp_path: Path) -> None:
    write(tmp_path, "triton/a")
    (tmp_path / "triton" / os.fsdecode(b"\xff")).write_bytes(b"")
    (note,) = capture(tmp_path, (), {}).notes
    assert note.state == "Unsafe"
    assert "packed" in note.reason
