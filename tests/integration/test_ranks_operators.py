"""Attempts of the Operators workload, as real processes, with stand-ins for FlashInfer and vLLM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from ranks.attempt import Rank, Staged, attempt, interpreter, site_packages, staging, until
from tunecast_core.bundle.savings import effective
from tunecast_core.records import job
from tunecast_core.records.manifest import Proof

pytestmark = pytest.mark.integration
STANDINS = Path(__file__).parents[1] / "ranks" / "standins"
TWO_GPUS = ("--tensor-parallel-size=2",)
END_SECONDS = 10.0  # deadline for a rank to end after another one
LAYERS = {"FlashInferAutotune", "FlashInferJIT"}
MODEL = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
    "quantization_config": {"quant_method": "fp8"},
}


@pytest.fixture
def staged() -> Iterator[Staged]:
    with staging() as server:
        yield server


def operators(
    directory: Path,
    staged: Staged,
    ranks: int,
    variables: Mapping[int, dict[str, str]] | None = None,
    config: Mapping[str, Any] = MODEL,
    arguments: tuple[str, ...] = (),
    python: str = "",
) -> AbstractContextManager[list[Rank]]:
    """Runs an attempt on a small model; ``variables`` select the stand-in's behaviour by rank.

    The stand-ins are found by PYTHONPATH, unless ``python`` has them installed.
    """
    model = directory / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(config))
    command = (python or interpreter(), "-m", "vllm", "serve", str(model), "--max-num-batched-tokens=64", *arguments)
    path = {"PYTHONPATH": "" if python else f"{STANDINS}:{site_packages()}"}
    everywhere = {rank: {**path, **(variables or {}).get(rank, {})} for rank in range(ranks)}
    return attempt(directory, staged, ranks, workload="Operators", command=command, variables=everywhere, python=python)


def image_with(directory: Path, *paths: Path) -> str:
    """Makes the Python of an image that has ``paths`` installed."""
    subprocess.run([interpreter(), "-m", "venv", "--without-pip", "--symlinks", directory], check=True)
    [packages] = directory.glob("lib/python3*/site-packages")
    (packages / "image.pth").write_text("".join(f"{path}\n" for path in paths))
    return str(directory / "bin" / "python")


def acting(*modes: str) -> dict[str, str]:
    return {"FLASHINFER_STANDIN": ",".join(modes)}


def succeed(ranks: list[Rank]) -> None:
    for rank in ranks:
        result = rank.wait()
        assert (result.succeeded, result.reason) == (True, "Proved"), rank.text
    assert_clean(ranks)


def assert_clean(ranks: list[Rank]) -> None:
    for rank in ranks:
        assert rank.leftovers() == []
        assert rank.engine_processes() == []


def staged_result(staged: Staged) -> tuple[job.RankResult, Proof]:
    result = staged.result(0)
    assert result.proof is not None
    return result, result.proof


@pytest.mark.parametrize("world", [1, 2])
def test_a_replay_finds_what_rank_0_tuned(tmp_path: Path, staged: Staged, world: int) -> None:
    """Tactics depend on the process here, so a rank that tuned by itself would have others."""
    with operators(tmp_path, staged, world, dict.fromkeys(range(world), acting("rank"))) as ranks:
        succeed(ranks)
    result, proof = staged_result(staged)
    assert proof.mode == ("SamePod" if world == 1 else "Peer")
    assert (proof.verdict, proof.reason) == ("Hit", "")
    assert {archive.layer for archive in result.archives} == LAYERS
    [replay] = proof.ranks
    assert {layer.layer: layer.verdict for layer in replay.layers} == dict.fromkeys(LAYERS, "Hit")
    assert replay.tactics is not None
    assert (replay.tactics.entries, replay.tactics.hits, replay.tactics.misses) == (28, 28, 0)  # 4 shapes, 7 buckets
    assert (replay.tactics.mismatches, replay.tactics.lacking) == ((), ())


def test_a_peer_on_another_gpu_loads_nothing_and_reports_the_reason(tmp_path: Path, staged: Staged) -> None:
    with operators(tmp_path, staged, 2, {1: {"FLASHINFER_STANDIN_GPU": "NVIDIA A100"}}) as ranks:
        succeed(ranks)
    _, proof = staged_result(staged)
    words = "gpu is NVIDIA A100 here, and was NVIDIA H100 80GB HBM3 where it was tuned"
    [layer] = [layer for layer in proof.ranks[0].layers if layer.layer == "FlashInferAutotune"]
    assert (layer.verdict, layer.reason) == ("Miss", words)
    assert proof.verdict != "Hit"
    assert words in proof.reason
    tactics = proof.ranks[0].tactics
    assert tactics is not None
    assert (tactics.hits, tactics.misses, tactics.mismatches) == (0, 28, (words,))


def test_other_tactics_on_a_peer_are_never_proved(tmp_path: Path, staged: Staged) -> None:
    with operators(tmp_path, staged, 2, {1: acting("altered")}) as ranks:
        result = ranks[0].wait()
        assert (result.succeeded, result.reason) == (False, job.TACTICS_DIFFER)
        assert "rank 1 replayed" in result.message
        ranks[1].wait(END_SECONDS)
        assert_clean(ranks)
    assert not [name for name in staged.objects if name.startswith("archives/")]


def test_autotune_files_with_rank_indices_are_not_bundled(tmp_path: Path, staged: Staged) -> None:
    newer = {0: {"FLASHINFER_STANDIN_VERSION": "0.6.18"}}
    with operators(tmp_path, staged, 1, newer, arguments=TWO_GPUS) as ranks:
        succeed(ranks)
    result, proof = staged_result(staged)
    assert {archive.layer for archive in result.archives} == {"FlashInferJIT"}
    [note] = [note for note in result.notes if note.layer == "FlashInferAutotune"]
    assert (note.state, "0.6.18 writes rank indices into its keys" in note.reason) == ("Unsafe", True)
    assert proof.ranks[0].tactics is not None
    assert proof.ranks[0].tactics.misses == 0


LOADED = """
from vllm.plugins import load_general_plugins
load_general_plugins()
from flashinfer.autotuner import AutoTuner
print(len(AutoTuner.get()._file_configs))
"""


def test_tactics_for_an_engine_that_looks_for_none_are_loaded_by_a_real_vllm(tmp_path: Path, staged: Staged) -> None:
    """With several GPUs in a replica, vLLM 0.26 tunes at each start, but uses tactics that are already loaded."""
    python = image_with(tmp_path / "image", STANDINS, site_packages())
    with operators(tmp_path / "attempt", staged, 2, arguments=TWO_GPUS, python=python) as ranks:
        succeed(ranks)
        mount = ranks[1].mount
        (tmp_path / "flashinfer").symlink_to(STANDINS / "flashinfer")
        real = image_with(tmp_path / "real", tmp_path, site_packages())
        engine = {**os.environ, "PYTHONPATH": str(mount / "tactics")}
        loaded = subprocess.check_output([real, "-c", LOADED], env=engine, text=True)
    result, proof = staged_result(staged)
    assert {archive.layer for archive in result.archives} == {"FlashInferTactics", "FlashInferJIT"}
    assert {layer.layer: layer.verdict for layer in proof.ranks[0].layers} == {
        "FlashInferTactics": "Hit",
        "FlashInferJIT": "Hit",
    }
    assert result.environment == {"PYTHONPATH": str(ranks[0].mount / "tactics")}
    [note] = [note for note in result.notes if note.layer == "FlashInferAutotune"]
    assert note.reason.endswith("each start tunes, unless the layer FlashInferTactics brings it")
    assert proof.ranks[0].tactics is not None
    assert int(loaded.splitlines()[-1]) == proof.ranks[0].tactics.entries


def test_a_plugin_that_would_not_be_found_is_not_brought(tmp_path: Path, staged: Staged) -> None:
    with operators(tmp_path, staged, 1, arguments=TWO_GPUS) as ranks:
        succeed(ranks)
    result, _ = staged_result(staged)
    assert {archive.layer for archive in result.archives} == {"FlashInferJIT"}
    assert result.environment == {}
    [note] = [note for note in result.notes if note.layer == "FlashInferAutotune"]
    assert "PYTHONPATH is set by the image or its container" in note.reason


def test_nothing_to_tune(tmp_path: Path, staged: Staged) -> None:
    with operators(tmp_path, staged, 2, dict.fromkeys(range(2), acting("lacking"))) as ranks:
        succeed(ranks)
    result, proof = staged_result(staged)
    assert result.archives == ()
    assert not effective(proof)
    assert proof.verdict == "Miss"
    assert "engines run its default tactics; can't run here: bmm_fp8 qkv" in proof.reason
    tactics = proof.ranks[0].tactics
    assert tactics is not None
    assert [words.partition(" (")[0] for words in tactics.lacking] == [
        f"bmm_fp8 {name}" for name in ("qkv", "o", "gate_up", "down")
    ]
    [note] = [note for note in result.notes if note.layer == "FlashInferAutotune"]
    assert (note.state, note.reason) == ("NotCacheable", proof.reason)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_rank_0_while_it_tunes(tmp_path: Path, staged: Staged, number: signal.Signals) -> None:
    with operators(tmp_path, staged, 2, {0: acting("slow")}) as ranks:
        ranks[0].prints("tuning takes a minute")
        assert ranks[0].engine_processes()
        ranks[0].process.send_signal(number)
        started = time.monotonic()
        result = ranks[1].wait(END_SECONDS)
        assert time.monotonic() - started < END_SECONDS
        assert (result.reason, result.lost_rank) == (job.PEER_LOST, 0)
        assert "rank 0" in result.message
        until(lambda: not ranks[0].engine_processes(), END_SECONDS, "the end of the FlashInfer process")
        assert_clean(ranks[1:])
        if number == signal.SIGTERM:
            assert ranks[0].wait(END_SECONDS).reason == job.TERMINATED
            assert_clean(ranks[:1])
    with operators(tmp_path / "next", staged, 1) as ranks:
        succeed(ranks)


@pytest.mark.parametrize(
    ("mode", "reason", "words"),
    [
        ("crash", job.ENGINE_CRASHED, "the FlashInfer process was ended by SIGABRT"),
        ("silent", job.INTERNAL, "the FlashInfer process left no report"),
    ],
)
def test_operators_that_end_their_process(tmp_path: Path, staged: Staged, mode: str, reason: str, words: str) -> None:
    with operators(tmp_path, staged, 1, {0: acting(mode)}) as ranks:
        result = ranks[0].wait()
        assert (result.succeeded, result.reason) == (False, reason)
        assert words in result.message
        assert_clean(ranks)


def test_a_model_without_shapes_is_reported_at_once(tmp_path: Path, staged: Staged) -> None:
    with operators(tmp_path, staged, 1, config={"hidden_size": 64, "text_config": None}) as ranks:
        result = ranks[0].wait()
        assert result.reason == job.ENGINE_REJECTED
        assert "the model's config.json has no num_attention_heads" in result.message
        assert_clean(ranks)
