"""Failed attempts end within seconds on every rank, with the reason, and leave nothing behind."""

from __future__ import annotations

import platform
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ranks.attempt import Rank, Staged, attempt, staging, until
from support.proc import node
from tunecast_core.hardware import gpu_name
from tunecast_core.records import job

pytestmark = pytest.mark.integration
PROMPT_SECONDS = 15.0  # deadline for the other ranks to end


@pytest.fixture
def staged() -> Iterator[Staged]:
    with staging() as server:
        yield server


def assert_ends(rank: Rank, lost: int, *words: str) -> None:
    """Checks that a rank ends soon with PEER_LOST."""
    started = time.monotonic()
    result = rank.wait(PROMPT_SECONDS)
    assert (result.reason, result.lost_rank) == (job.PEER_LOST, lost), rank.text
    for word in words:
        assert word in result.message
    assert time.monotonic() - started < PROMPT_SECONDS
    assert rank.leftovers() == []
    assert rank.engine_processes() == []


@pytest.mark.parametrize("world", [2, 4])
def test_a_killed_peer_ends_the_cold_start(tmp_path: Path, staged: Staged, world: int) -> None:
    with attempt(tmp_path, staged, world, "--start-seconds=600", "--helper") as ranks:
        ranks[0].prints("init engine")
        ranks[1].process.kill()
        assert_ends(ranks[0], 1, "rank 1 was silent")
        for other in ranks[2:]:
            assert_ends(other, 1, "rank 1 was silent")


def test_an_incomplete_join_reports_the_missing_rank(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 2, world_size=3, join_seconds=25.0) as ranks:
        for number, rank in enumerate(ranks):
            result = rank.wait(90)
            learned = number and result.reason == job.PEER_LOST  # rank 0's end came before its own deadline
            assert learned or result.reason == job.JOIN_TIMED_OUT, rank.text
            assert f"rank {0 if learned else number} waits for rank 2" in result.message
            assert "NetworkPolicy" in result.message
            assert rank.engine_processes() == []


def test_a_rank_that_cannot_reach_rank_0_is_reported(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 2, join_seconds=8.0, first=1) as [rank]:
        result = rank.wait(60)
        assert result.reason == job.JOIN_TIMED_OUT, rank.text
        assert "rank 1 could not reach rank 0 at localhost:" in result.message


def test_a_frozen_peer_counts_as_lost(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 2, "--start-seconds=600") as ranks:
        ranks[0].prints("init engine")
        ranks[1].process.send_signal(signal.SIGSTOP)
        assert_ends(ranks[0], 1, "rank 1 was silent")


def test_a_killed_rank_0_ends_its_peers(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 4, "--start-seconds=600") as ranks:
        ranks[0].prints("init engine")
        ranks[0].process.kill()
        for rank in ranks[1:]:
            assert_ends(rank, 0, "rank 0")


def test_a_frozen_rank_0_ends_its_peers(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 2, "--start-seconds=600") as ranks:
        ranks[0].prints("init engine")
        ranks[0].process.send_signal(signal.SIGSTOP)
        assert_ends(ranks[1], 0, "rank 0 did not answer")


@pytest.mark.parametrize("number", [0, 1])
def test_sigterm_ends_a_rank_cleanly_and_the_other_knows_why(tmp_path: Path, staged: Staged, number: int) -> None:
    with attempt(tmp_path, staged, 2, "--start-seconds=600", "--helper") as ranks:
        ranks[0].prints("init engine")
        until(lambda: len(ranks[0].engine_processes()) == 2, 10, "the engine's two processes")
        ranks[number].process.terminate()
        result = ranks[number].wait(PROMPT_SECONDS)
        assert (result.reason, result.lost_rank) == (job.TERMINATED, None)
        assert ranks[number].leftovers() == []
        assert ranks[number].engine_processes() == []
        assert_ends(ranks[1 - number], number, f"rank {number} ended: Terminated")
    assert job.result_object(number) in staged.objects


def on(folder: Path, product: str) -> dict[str, str]:
    """Returns the variables of a rank on a node with this GPU."""
    return {"TUNECAST_PROC": str(node(folder / product, product))}


def test_ranks_on_different_gpus_end_the_attempt_at_once(tmp_path: Path, staged: Staged) -> None:
    variables = {0: on(tmp_path, "NVIDIA L4"), 1: on(tmp_path, "NVIDIA H100")}
    with attempt(tmp_path, staged, 2, variables=variables, wants_gpu=True) as ranks:
        result = ranks[1].wait(60)
        assert result.reason == job.HARDWARE_DIFFERS, ranks[1].text
        names = [gpu_name(product, platform.machine()) for product in ("NVIDIA H100", "NVIDIA L4")]
        assert f"rank 1 runs on {names[0]} and rank 0 on {names[1]}" in result.message
        assert_ends(ranks[0], 1, "HardwareDiffers")


def test_a_rank_on_other_hardware_than_its_cache_is_for_ends(tmp_path: Path, staged: Staged) -> None:
    variables, hardware = {0: on(tmp_path, "NVIDIA L4")}, "nvidia-h100-x86-64"
    with attempt(tmp_path, staged, 1, variables=variables, wants_gpu=True, hardware=hardware) as [rank]:
        result = rank.wait(60)
        assert result.reason == job.HARDWARE_DIFFERS, rank.text
        assert "this StartupCache is for nvidia-h100-x86-64" in result.message


def test_sigterm_while_ranks_wait_for_each_other(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 1, world_size=2) as [rank]:
        rank.prints("rank 0 of 2")
        rank.process.terminate()
        assert rank.wait(PROMPT_SECONDS).reason == job.TERMINATED


@pytest.mark.parametrize(
    ("arguments", "reason", "words"),
    [
        (("--frobnicate",), job.ENGINE_REJECTED, "unrecognized arguments: --frobnicate"),
        (("--crash-after=0.2",), job.ENGINE_CRASHED, "exited with status 9"),
    ],
)
def test_an_engine_that_exits(
    tmp_path: Path, staged: Staged, arguments: tuple[str, ...], reason: str, words: str
) -> None:
    with attempt(tmp_path, staged, 2, *arguments) as ranks:
        result = ranks[0].wait()
        assert result.reason == reason
        assert words in result.message
        assert_ends(ranks[1], 0, f"rank 0 ended: {reason}", words)


@pytest.mark.parametrize("world", [1, 2])
def test_an_engine_that_does_not_start_from_its_own_bundle(tmp_path: Path, staged: Staged, world: int) -> None:
    with attempt(tmp_path, staged, world, "--refuses-bundle") as ranks:
        result = ranks[-1].wait()
        if world == 2:
            assert_ends(ranks[0], 1, "rank 1 ended: WarmStartFailed")
    assert (result.succeeded, result.reason) == (False, job.WARM_START_FAILED)
    assert "Miss: " in result.message
    assert "rank_0_0/model of TorchCompile, below" in result.message
    assert not [name for name in staged.objects if name.startswith("archives/")], "nothing of it is offered"


def test_an_engine_that_does_not_exist(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 1, command=("/nosuch/vllm", "serve", "m")) as [rank]:
        result = rank.wait()
    assert result.reason == job.ENGINE_REJECTED
    assert "/nosuch/vllm" in result.message


@pytest.mark.parametrize(
    ("lie", "reason", "words"),
    [
        ("corrupted", job.PEER_LOST, "rank 1 ended: InstallFailed"),
        ("liar", job.INSTALL_FAILED, "rank 1 installed 0000"),
        ("talker", job.INTERNAL, "proof of rank 1 has 2097"),
        ("overheard", job.PEER_LOST, "offer/0 was not written by a rank of this attempt"),
    ],
)
def test_a_corrupted_broadcast_is_never_proved(
    tmp_path: Path, staged: Staged, lie: str, reason: str, words: str
) -> None:
    with attempt(tmp_path, staged, 2, liars={1: lie}) as ranks:
        result = ranks[0].wait()
        assert (result.succeeded, result.reason) == (False, reason)
        assert words in result.message
        peer = ranks[1].wait(PROMPT_SECONDS)
        if lie in {"corrupted", "overheard"}:  # the other two ranks may report success before rank 0 finds the fault
            assert not peer.succeeded
    assert not [name for name in staged.objects if name.startswith("archives/")]


def test_an_attempt_has_a_deadline(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 1, "--start-seconds=600", timeout_seconds=3.0) as [rank]:
        assert rank.wait(PROMPT_SECONDS).reason == job.TIMED_OUT
        assert rank.engine_processes() == []


def test_a_mount_path_that_is_not_empty(tmp_path: Path, staged: Staged) -> None:
    (tmp_path / "full" / "vllm").mkdir(parents=True)
    with attempt(tmp_path, staged, 1, mount_path=str(tmp_path)) as [rank]:
        result = rank.wait()
    assert result.reason == job.BAD_SETTINGS
    assert "empty" in result.message
