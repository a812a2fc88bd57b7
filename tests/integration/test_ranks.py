"""Attempts of one, two and four ranks, as real processes that communicate over gloo, with a stand-in engine."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ranks.attempt import ROOT, Rank, Staged, attempt, make_modules, site_packages, staging
from support.arbitrary_user import UID, arbitrary_user
from tunecast_core.bundle.savings import effective, least
from tunecast_core.records import job

pytestmark = pytest.mark.integration


@pytest.fixture
def staged() -> Iterator[Staged]:
    with staging() as server:
        yield server


def result_of(staged: Staged, rank: int) -> job.RankResult:
    return staged.result(rank)


def assert_clean(ranks: list[Rank]) -> None:
    for rank in ranks:
        assert rank.leftovers() == []
        assert rank.engine_processes() == []


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_warm_start_hits(tmp_path: Path, staged: Staged, world: int) -> None:
    make_modules(tmp_path, 600)
    arguments = ("--compile-seconds=2", "--modules=600", "--payload=20000000")
    with attempt(tmp_path, staged, world, *arguments) as ranks:
        results = [rank.wait() for rank in ranks]
        assert [(r.rank, r.succeeded, r.reason) for r in results] == [(n, True, "Proved") for n in range(world)]
        assert_clean(ranks)
    proof = result_of(staged, 0).proof
    assert proof is not None
    assert proof.mode == ("SamePod" if world == 1 else "Peer")
    assert [rank.rank for rank in proof.ranks] == ([0] if world == 1 else list(range(1, world)))
    assert (proof.verdict, proof.outputs, proof.reason) == ("Hit", "Identical", "")
    assert effective(proof)
    assert all(start.first_token_seconds > start.total_seconds for start in (proof.cold, proof.warm))  # type: ignore[operator]
    assert proof.cold.init_seconds == pytest.approx(2.0, abs=0.5)
    assert {layer.layer for layer in proof.ranks[0].layers} == {"TorchCompile", "Triton", "PythonBytecode"}


def test_what_rank_0_stages(tmp_path: Path, staged: Staged) -> None:
    make_modules(tmp_path, 600)
    staged.refuse.add(job.archive_object("Triton"))  # after an expired URL, the rank reads the URL again and retries
    with attempt(tmp_path, staged, 2, "--modules=600") as ranks:
        assert all(rank.wait().succeeded for rank in ranks)
        mount = ranks[0].mount
    result = result_of(staged, 0)
    assert {archive.layer: archive.size for archive in result.archives} == {
        layer: len(staged.objects[job.archive_object(layer)]) for layer in ("TorchCompile", "Triton", "PythonBytecode")
    }
    assert result.environment == {"PYTHONPYCACHEPREFIX": f"{mount}/pycache"}
    assert result.provenance is not None
    assert "torch" in result.provenance.versions
    stages = [entry["stage"] for entry in staged.progress]
    assert stages[-1] == "Done"
    assert staged.progress[-1]["bytes"] == sum(archive.size for archive in result.archives)
    assert result_of(staged, 1).proof is None


def test_an_image_with_bytecode_keeps_it(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 1) as [rank]:  # the stand-in imports the standard library, which has bytecode
        assert rank.wait().succeeded
    result = result_of(staged, 0)
    assert result.environment == {}
    [note] = [note for note in result.notes if note.layer == "PythonBytecode"]
    assert (note.state, note.reason.startswith("the image holds bytecode")) == ("NotCacheable", True)
    assert "PythonBytecode" not in {archive.layer for archive in result.archives}


def test_an_inert_layer_is_reported_with_the_engines_message(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 2, "--inert", "--drift") as ranks:
        assert all(rank.wait().succeeded for rank in ranks)
    proof = result_of(staged, 0).proof
    assert proof is not None
    verdicts = {layer.layer: layer for layer in proof.ranks[0].layers}
    assert verdicts["TorchCompile"].verdict != "Hit"
    assert verdicts["TorchCompile"].rebuilt == 1
    assert "Compiling model again due to a load failure" in verdicts["TorchCompile"].reason
    assert proof.verdict == "Miss"
    assert proof.outputs == "Different"


def test_slow_weights_on_a_peers_node_do_not_count(tmp_path: Path, staged: Staged) -> None:
    variables = {1: {"STANDIN_WEIGHTS_SECONDS": "6"}}
    with attempt(tmp_path, staged, 2, "--compile-seconds=2", variables=variables) as ranks:
        assert all(rank.wait().succeeded for rank in ranks)
    proof = result_of(staged, 0).proof
    assert proof is not None
    assert proof.warm.total_seconds > proof.cold.total_seconds + 3
    found = least(proof)
    assert found is not None
    assert found.basis == "Phases"
    assert found.seconds == pytest.approx(2.0, abs=0.5)
    assert effective(proof)


def test_a_download_that_only_the_cold_start_makes_is_no_gain(tmp_path: Path, staged: Staged) -> None:
    """All layers hit, but save no time."""
    with attempt(tmp_path, staged, 1, "--useless", "--compile-seconds=1", "--download-seconds=6") as [rank]:
        assert rank.wait().succeeded
    proof = result_of(staged, 0).proof
    assert proof is not None
    assert proof.cold.total_seconds > proof.warm.total_seconds + 3
    assert proof.verdict == "Hit"
    assert not effective(proof)


def test_a_miss_names_the_variable_that_differs(tmp_path: Path, staged: Staged) -> None:
    variables = {rank: {"VLLM_SIDE_CHANNEL_HOST": f"10.0.0.{rank}"} for rank in range(2)}
    with attempt(tmp_path, staged, 2, variables=variables) as ranks:
        assert all(rank.wait().succeeded for rank in ranks)
    proof = result_of(staged, 0).proof
    assert proof is not None
    [layer] = [layer for layer in proof.ranks[0].layers if layer.layer == "TorchCompile"]
    assert layer.verdict == "Miss"
    assert "VLLM_SIDE_CHANNEL_HOST" in layer.reason.partition("variables that differ from rank 0: ")[2]


def test_the_engine_has_nothing_of_the_job_in_its_environment(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 1, "--start-seconds=60") as [rank]:
        rank.prints("init engine")
        [engine] = rank.engine_processes()
        names = {
            entry.partition(b"=")[0].decode() for entry in Path(f"/proc/{engine}/environ").read_bytes().split(b"\0")
        }
    added = {"VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "PYTHONPYCACHEPREFIX"}
    assert added <= names
    assert not {name for name in names if name.startswith(("MASTER_", "TORCH_", "JOB_", "TUNECAST", "AWS_", "GLOO_"))}


def test_extra_requests_and_a_failed_upload(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 1, sweep=({"prompt": [1]},), uploads={}) as [rank]:
        result = rank.wait()
    assert (result.succeeded, result.reason) == (False, job.UPLOAD_FAILED)
    assert "no URL for archives/TorchCompile" in result.message


def test_our_log_lines_differ_from_the_engines(tmp_path: Path, staged: Staged) -> None:
    with attempt(tmp_path, staged, 1) as [rank]:
        rank.wait()
        lines = rank.text.splitlines()
    ours = [line for line in lines if line.startswith("tunecast rank 0 [")]
    assert any(" s] ColdStart: " in line for line in ours)
    assert any("init engine" in line for line in lines if line not in ours)
    assert json.loads(rank.termination_log.read_bytes())["reason"] == "Proved"


@pytest.mark.parametrize("world", [1, 2])
def test_ranks_and_engines_run_as_any_user(tmp_path: Path, staged: Staged, world: int) -> None:
    """As on OpenShift, the uid has no passwd entry and no HOME."""
    make_modules(tmp_path, 600)
    tmp_path.chmod(0o755)
    user = arbitrary_user(tmp_path, site_packages())
    with attempt(tmp_path, staged, world, "--modules=600", "--compile-seconds=2", user=user) as ranks:
        results = [rank.wait() for rank in ranks]
        assert [(r.reason, r.message) for r in results if not r.succeeded] == []
        artefact = next(ranks[0].mount.rglob("model"))
        assert artefact.stat().st_uid == UID
    assert staged.result(0).proof is not None


IPV6_ONLY = """
set -e
ip link set lo up
ip address delete 127.0.0.1/8 dev lo
ip address add fd00::17/128 dev lo
mount --bind "$1" /etc/hosts
shift
exec "$@"
"""


def test_ranks_meet_where_there_is_no_ipv4(tmp_path: Path) -> None:
    """Runs another test of this file in a network namespace with IPv6 only; names resolve as in a pod."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"::1 localhost\nfd00::17 {socket.gethostname()}\n")
    again = [sys.executable, "-m", "pytest", "-q", f"{__file__}::test_a_warm_start_hits[2]"]
    command = ["unshare", "--net", "--mount", "sh", "-c", IPV6_ONLY, "sh", str(hosts), *again]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
