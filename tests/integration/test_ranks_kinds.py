"""Each kind of engine gets its own requests; an engine that refuses all of them ends the attempt with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ranks.attempt import Staged, attempt, staging
from tunecast_core.records import job
from tunecast_core.records.manifest import Proof

pytestmark = pytest.mark.integration


@pytest.fixture
def staged() -> Iterator[Staged]:
    with staging() as server:
        yield server


def proof_of(tmp_path: Path, staged: Staged, *arguments: str, **changes: Any) -> Proof:
    with attempt(tmp_path, staged, 1, *arguments, **changes) as [rank]:
        result = rank.wait()
        assert result.succeeded, rank.text
    proof = staged.result(0).proof
    assert proof is not None
    return proof


@pytest.mark.parametrize(
    ("arguments", "kind", "route"),
    [
        ("", "Completion", "/v1/completions"),
        ("--text-only", "Completion", "/v1/completions"),
        ("--no-chat-template", "Completion", "/v1/completions"),
        ("--serves=chat", "Chat", "/v1/chat/completions"),
        ("--serves=chat --all-routes", "Chat", "/v1/chat/completions"),
        ("--serves=embedding", "Embedding", "/v1/embeddings"),
        ("--serves=embedding --all-routes --text-only", "Embedding", "/v1/embeddings"),
        ("--serves=score", "Score", "/score"),
        ("--serves=classification", "Classification", "/classify"),
        ("--serves=pooling", "Pooling", "/pooling"),
        ("--serves=transcription", "Transcription", "/v1/audio/transcriptions"),
    ],
)
def test_engine_is_asked_for_what_it_serves(
    tmp_path: Path, staged: Staged, arguments: str, kind: str, route: str
) -> None:
    proof = proof_of(tmp_path, staged, *arguments.split())
    assert proof.sweep is not None
    assert (proof.sweep.kind, proof.sweep.route) == (kind, route)
    assert proof.sweep.requests > 40
    assert (proof.verdict, proof.outputs, proof.ranks[0].outputs_reason) == ("Hit", "Identical", "")
    assert (proof.cold.first_token_seconds or 0) > proof.cold.total_seconds


def test_partly_refused_sweep_is_noted(tmp_path: Path, staged: Staged) -> None:
    sweep = proof_of(tmp_path, staged).sweep
    assert sweep is not None
    assert (sweep.refused, sweep.refusal) == (1, "400: not here")


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--api-key", "k1", "k2"], {}),
        (["--api-key=k1"], {"VLLM_API_KEY": "another"}),
        ([], {"VLLM_API_KEY": "k1"}),
    ],
)
def test_every_request_has_the_api_key(
    tmp_path: Path, staged: Staged, arguments: list[str], variables: dict[str, str]
) -> None:
    proof = proof_of(tmp_path, staged, *arguments, variables={0: variables})
    assert proof.sweep is not None
    assert (proof.sweep.refused, proof.outputs) == (1, "Identical")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hidden-key=k"], "/v1/models answered 401: Unauthorized; a rank takes the API key from --api-key"),
        (["--hidden-key=k", "--api-key=other"], "and the engine refused that key"),
        (["--accepts=1"], "/v1/completions answered 400: not here"),
        (["--serves=nothing"], "/v1/completions answered 404: The model does not support /v1/completions"),
        (
            ["--serves=chat", "--no-chat-template"],
            "/v1/chat/completions answered 400: default chat template is no longer allowed",
        ),
    ],
)
def test_engine_that_refuses_everything_ends_the_attempt(
    tmp_path: Path, staged: Staged, arguments: list[str], words: str
) -> None:
    with attempt(tmp_path, staged, 1, *arguments) as [rank]:
        result = rank.wait()
        assert rank.engine_processes() == []
    assert (result.succeeded, result.reason) == (False, job.SWEEP_REFUSED)
    assert words in result.message
    assert not [name for name in staged.objects if name.startswith("archives/")]


def test_vectors_of_a_warm_engine_that_computes_otherwise_differ(tmp_path: Path, staged: Staged) -> None:
    assert proof_of(tmp_path, staged, "--serves=embedding", "--drift").outputs == "Different"
